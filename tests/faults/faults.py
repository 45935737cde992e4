"""Faults worth having a test for: what goes wrong, where, and which tests must turn red.

``old`` occurs exactly once in its file; the whole text is checked before anything runs, so that a fault cannot be
seeded beside the code it is about.
"""

from typing import NamedTuple


class Fault(NamedTuple):
    """One seeded mistake. ``tests`` are pytest's arguments."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_HANDLERS = "shared/modeldrop/handlers"
_LOCAL = "shared/modeldrop/adapters/local"
_DOMAIN = "shared/modeldrop/domain"
_WEB = "shared/modeldrop/web"
_DOCUMENTS = "tests/contract/test_documents.py"
_CRASHES = "tests/crash/test_crash_safety.py"


def _crash(*words: str) -> tuple[str, ...]:
    """The crash cases whose scenario and way have these words."""
    return (_CRASHES, "-k", " and ".join(words))


FAULTS = (
    Fault(
        "a document is replaced whatever its revision",
        f"{_LOCAL}/sqlite_documents.py",
        '"UPDATE documents SET data = ?, revision = ? WHERE collection = ? AND id = ? AND revision = ?"',
        '"UPDATE documents SET data = ?, revision = ? WHERE collection = ? AND id = ? AND revision <> -?"',
        _crash("better", "zombies"),
    ),
    Fault(
        "a document is made where there is one",
        f"{_LOCAL}/sqlite_documents.py",
        "VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        "VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET data = excluded.data, revision = excluded.revision",
        (_DOCUMENTS, "-k", "sqlite"),
    ),
    Fault(
        "generations are compared with <",
        f"{_LOCAL}/folder_bucket.py",
        "if (live.generation if live else 0) != generation:",
        "if (live.generation if live else 0) < generation:",
        ("tests/contract/test_bucket.py", "-k", "folder"),
    ),
    Fault(
        "an event is acknowledged although nothing was written",
        f"{_HANDLERS}/packages/take_upload.py",
        "    except PermanentError as error:\n",
        "    except Exception as error:\n",
        _crash("first", "refused"),
    ),
    Fault(
        "traffic is set whatever the etag",
        f"{_LOCAL}/process_model_server.py",
        "if endpoint.etag != etag:",
        "if endpoint.etag == '':",
        ("tests/contract/test_model_server.py", "-k", "process"),
    ),
    Fault(
        "traffic is set whatever the etag, and a sleeper wakes up",
        f"{_LOCAL}/process_model_server.py",
        "if endpoint.etag != etag:",
        "if endpoint.etag == '':",
        _crash("better", "sleep"),
    ),
    Fault(
        "a version with traffic is undeployed",
        f"{_LOCAL}/process_model_server.py",
        "WHERE model = ? AND version = ? AND traffic = 0",
        "WHERE model = ? AND version = ? AND traffic >= 0",
        ("tests/contract/test_model_server.py", "-k", "process"),
    ),
    Fault(
        "the effect comes before the intent",
        f"{_HANDLERS}/rollouts/roll_back.py",
        "    services.registry.commit_about(head, new_head, writes, note, [news])\n",
        "    endpoint = services.model_server.observe(head.value.model)\n"
        "    if endpoint and target.version in {d.version for d in endpoint.deployed}:\n"
        "        services.model_server.set_traffic(head.value.model, {target.version: 100}, endpoint.etag)\n"
        "    services.registry.commit_about(head, new_head, writes, note, [news])\n",
        _crash("warm", "crashes"),
    ),
    Fault(
        "what fell is not entered in the ledger",
        f"{_HANDLERS}/rollouts/advance_rollout.py",
        "[*folded.writes, *ledger_writes(services, found.value, rollout.reason)]",
        "[*folded.writes]",
        ("tests/handlers/test_commands.py",),
    ),
    Fault(
        "what could not be measured counts as a failure",
        f"{_DOMAIN}/rollout.py",
        "failures=rollout.failures + (verdict is Verdict.FAIL),",
        "failures=rollout.failures + (verdict in {Verdict.FAIL, Verdict.ERROR}),",
        ("tests/unit/test_rollout.py",),
    ),
    Fault(
        "too little to tell by is taken as a pass",
        f"{_DOMAIN}/rollout_plan.py",
        "passed = last.verdict is Verdict.PASS",
        "passed = last.verdict in {Verdict.PASS, Verdict.INCONCLUSIVE}",
        ("tests/unit/test_rollout_plan.py",),
    ),
    Fault(
        "a version that fell is champion again",
        f"{_DOMAIN}/versions.py",
        "not (self.problems or self.waiting_for or self.late or self.fallen)",
        "not (self.problems or self.waiting_for or self.late)",
        ("tests/handlers/test_main_job.py", "-k", "failed"),
    ),
    Fault(
        "an operator is sent back to a version that fell",
        f"{_HANDLERS}/rollouts/roll_back.py",
        "    if found.value.fallen:\n",
        "    if found.value.fallen and not found.value.rolled_out:\n",
        ("tests/handlers/test_rollback.py", "-k", "who_cannot_take_over"),
    ),
    Fault(
        "commits about a model are not counted",
        "shared/modeldrop/records/registry.py",
        "msgspec.structs.replace(new, changes=head.value.changes + 1, history_hash=last)",
        "msgspec.structs.replace(new, changes=head.value.changes, history_hash=last)",
        ("tests/handlers/test_commands.py",),
    ),
    Fault(
        "a deployment's id is chosen at random",
        "shared/modeldrop/adapters/gcp/vertex_ids.py",
        "number = int(_hash(version.model, version.version, version.digest), 16)",
        "number = id(object()) * 7919 + __import__('secrets').randbelow(10**9)",
        ("tests/unit/test_vertex_ids.py",),
    ),
    Fault(
        "records are written from a version read before the files were looked at",
        f"{_HANDLERS}/packages/decision_records.py",
        "        found = services.registry.version_at(model, key)\n"
        "        if found is None:\n"
        "            return\n"
        "        try:\n",
        "        try:\n",
        _crash("better", "zombies"),
    ),
    Fault(
        "it is measured at every look",
        f"{_DOMAIN}/rollout_plan.py",
        "if now >= (last.at if last else rollout.phase_since) + interval:",
        "if now >= (last.at if last else rollout.phase_since):",
        ("tests/unit/test_rollout_plan.py",),
    ),
    Fault(
        "nothing is tidied up after a rollout",
        f"{_HANDLERS}/rollouts/advance_rollout.py",
        "rollout=None, untidy=True, recalled=None)",
        "rollout=None, untidy=False, recalled=None)",
        ("tests/handlers/test_main_job.py", "-k", "supersedes or old_one_is_retired"),
    ),
    Fault(
        "what a sleeper deployed stays behind the endpoint",
        f"{_HANDLERS}/rollouts/check_health.py",
        "    return version is not None and is_of_our_making(services, head.model, version)\n",
        "    return False\n",
        _crash("analysis", "zombies"),
    ),
    Fault(
        "what somebody else took away is held against the version",
        f"{_HANDLERS}/rollouts/check_health.py",
        "if not edited and new.status == UNHEALTHY",
        "if new.status == UNHEALTHY",
        _crash("gone", "refused"),
    ),
    Fault(
        "a package is registered before what it consists of is kept",
        f"{_HANDLERS}/packages/register_package.py",
        "                keep_verified(services.bucket, package)  # before anybody can want to deploy it\n"
        "        if old is not None and version == old.value:\n"
        "            return old.value, None\n"
        "        try:\n"
        "            return _register(services, head, policy, version, old), None\n",
        "                pass\n"
        "        if old is not None and version == old.value:\n"
        "            return old.value, None\n"
        "        try:\n"
        "            registered = _register(services, head, policy, version, old)\n"
        "            if package is not None and _is_whole(version):\n"
        "                keep_verified(services.bucket, package)\n"
        "            return registered, None\n",
        _crash("better", "crashes"),
    ),
    Fault(
        "the package is read before the model's head",
        f"{_HANDLERS}/packages/register_package.py",
        "        head = services.registry.head(location.model)\n"
        "        old = services.registry.version(location.model, location.version)\n"
        "        package = _read(services, location)\n",
        "        package = _read(services, location)\n"
        "        head = services.registry.head(location.model)\n"
        "        old = services.registry.version(location.model, location.version)\n",
        ("tests/handlers/test_main_job.py", "-k", "slow_instance"),
    ),
    Fault(
        "nobody asks what a caller may do",
        f"{_WEB}/application.py",
        "    refusal = None if public else roles.refusal(settings, caller, route.role_for(arguments))\n",
        "    refusal = None\n",
        ("tests/functions/test_api_roles.py",),
    ),
    Fault(
        "pages of other sites may command",
        f"{_WEB}/same_origin.py",
        "    if changing and not _is_ours(settings, asked, host):\n",
        "    if changing and not (_is_ours(settings, asked, host) or host):\n",
        ("tests/unit/test_same_origin.py",),
    ),
    Fault(
        "a token is believed whoever issued it",
        "shared/modeldrop/adapters/http/signed_tokens.py",
        "                issuer=self._issuer,\n",
        "",
        ("tests/contract/test_signed_tokens.py",),
    ),
    Fault(
        "an entry of the audit trail does not depend on the one before",
        f"{_DOMAIN}/audit_chain.py",
        '    placed = msgspec.structs.replace(entry, number=after.number + 1, previous=after.hash, hash="")\n',
        '    placed = msgspec.structs.replace(entry, number=after.number + 1, previous="", hash="")\n',
        ("tests/unit/test_audit_chain.py",),
    ),
    Fault(
        "texts from outside are taken for HTML",
        f"{_WEB}/dashboard/rendering.py",
        "        autoescape=True,\n",
        "        autoescape=False,\n",
        ("tests/browser", "-k", "hostile"),
    ),
)
