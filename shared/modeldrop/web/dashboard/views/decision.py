"""The gate's decision on a version, told as a sentence and as a table of its metrics."""

from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from modeldrop.web.dashboard.charts.bars import contribution_bar
from modeldrop.web.dashboard.figures import figure, percent
from modeldrop.web.dashboard.marks import BAD, GOOD, QUIET, Mark, verdict_mark
from modeldrop.web.dashboard.reader import Answer, Reader
from modeldrop.web.dashboard.views.versions import VersionRow, version_row


@dataclass(frozen=True)
class TermRow:
    """A metric: what it is here and with the champion, what it counts, what it adds, and whether it keeps its limit."""

    metric: str
    value: str
    champion: str
    weight: str
    better: str
    contribution: str
    bar: Markup | None
    limit: str
    kept: Mark


@dataclass(frozen=True)
class ComparisonRow:
    """One the version had to beat."""

    version: str
    role: str
    score: str
    candidate: str
    required: str
    mark: Mark


@dataclass(frozen=True)
class VersionPage:
    """The page of one version."""

    model: str
    row: VersionRow
    verdict: Mark
    sentence: str
    afterwards: str
    reasons: list[str]
    terms: list[TermRow]
    unreported: list[str]
    comparisons: list[ComparisonRow]
    champion: str | None
    facts: list[tuple[str, str]]
    lineage: list[tuple[str, str]]
    labels: list[tuple[str, str]]
    metrics: list[tuple[str, str]]


def version_page(reader: Reader, model: str, version: str, now: datetime) -> VersionPage:
    """Everything there is to say of a version."""
    about = reader.get(f"/v1/models/{model}")
    found = reader.get(f"/v1/models/{model}/versions/{version}")
    decision = found["decision"]
    row = version_row(found, about["aliases"], now)
    champion = _champion(decision)
    return VersionPage(
        model,
        row,
        verdict_mark(decision["verdict"] if decision else "no decision yet"),
        sentence(version, decision, found["waiting_for"]),
        f"Afterwards it fell: {found['fallen']}" if found["fallen"] else "",
        decision["reasons"] if decision else [],
        _terms(decision) if decision else [],
        [term["metric"] for term in decision["terms"] if not _counts(term, champion)] if decision else [],
        [_comparison(each) for each in decision["compared_with"]] if decision else [],
        champion["version"] if champion else None,
        _facts(row, decision),
        _pairs(found["lineage"]),
        _pairs(found["labels"]),
        [(name, figure(value)) for name, value in sorted(found["metrics"].items())],
    )


def sentence(version: str, decision: Answer | None, waiting_for: list[str]) -> str:
    """The decision in one sentence.

    >>> sentence("v2", None, ["model.onnx"])
    'v2 has no decision yet: it waits for model.onnx.'
    """
    if decision is None:
        return f"{version} has no decision yet: it waits for {', '.join(waiting_for) or 'its turn'}."
    lost = next((each for each in decision["compared_with"] if not each["passed"]), None)
    if decision["rule"] == "no_improvement" and lost is not None:
        return (
            f"{version} was rejected: its score {figure(lost['candidate_score'])} does not reach "
            f"{figure(lost['required'])}. {lost['version']} ({_role(lost['role'])}) has {figure(lost['score'])}."
        )
    if decision["verdict"] == "rejected" and len(decision["reasons"]) > 1:
        return f"{version} was rejected for {len(decision['reasons'])} reasons."
    said = "; ".join(decision["reasons"][:1]) or decision["rule"].replace("_", " ")
    words = {"approved": "was approved", "rejected": "was rejected", "held": "waits for somebody's word"}
    return f"{version} {words.get(decision['verdict'], decision['verdict'])}: {said}."


def _champion(decision: Answer | None) -> Answer | None:
    found: list[Answer] = decision["yardsticks"] if decision else []
    return next((each for each in found if each["role"] == "production"), found[0] if found else None)


def _terms(decision: Answer) -> list[TermRow]:
    champion = _champion(decision)
    theirs = champion["metrics"] if champion else {}
    heaviest = max([term["weight"] or 0.0 for term in decision["terms"]], default=0.0) or 1.0
    gate = decision["gate"] or {"floors": {}, "ceilings": {}}
    return [
        _term(term, theirs.get(term["metric"]), heaviest, gate) for term in decision["terms"] if _counts(term, champion)
    ]


def _counts(term: Answer, champion: Answer | None) -> bool:
    """Whether there is anything to say of a metric: it is reported, here or there, or breaks a limit."""
    return term["value"] is not None or term["passed"] is False or term["metric"] in (champion or {}).get("metrics", {})


def _term(term: Answer, theirs: float | None, heaviest: float, gate: Answer) -> TermRow:
    name, scaled = term["metric"], term["scaled"]
    drawn = term["weight"] is not None and scaled is not None
    return TermRow(
        name,
        figure(term["value"]),
        figure(theirs),
        percent(term["weight"]) if scaled is not None else "–",
        f"{term['direction']} is better",
        figure(term["contribution"]),
        contribution_bar(name, term["weight"] / heaviest, scaled) if drawn else None,
        _limit(name, gate),
        _kept(term["passed"], bool(_limit(name, gate))),
    )


def _limit(metric: str, gate: Answer) -> str:
    limits = [("at least", gate["floors"].get(metric)), ("at most", gate["ceilings"].get(metric))]
    return ", ".join(f"{word} {figure(value)}" for word, value in limits if value is not None)


def _kept(passed: bool | None, limited: bool) -> Mark:
    if passed is False:
        return Mark("bad", BAD, "breaks it")
    if passed is None:
        return Mark("quiet", QUIET, "not reported")
    return Mark("good", GOOD, "keeps it") if limited else Mark("quiet", QUIET, "no limit")


def _comparison(found: Answer) -> ComparisonRow:
    mark = Mark("good", GOOD, "beaten") if found["passed"] else Mark("bad", BAD, "not beaten")
    return ComparisonRow(
        found["version"],
        _role(found["role"]),
        figure(found["score"]),
        figure(found["candidate_score"]),
        figure(found["required"]),
        mark,
    )


def _role(role: str) -> str:
    return {"production": "in production", "best": "the best so far"}.get(role, role)


def _facts(row: VersionRow, decision: Answer | None) -> list[tuple[str, str]]:
    facts = [("Runtime", row.runtime), ("Digest", row.full_digest)]
    if decision is None:
        return facts
    looked_at = decision["facts"] or {}
    facts += [
        ("Score", figure(decision["score"])),
        ("Rule", decision["rule"].replace("_", " ")),
        ("Preset", decision["preset"] or ""),
        ("Policy", (decision["policy"] or "the defaults")[:12] if decision["gate"] else ""),
        ("Improvement wanted", figure(decision["gate"]["min_improvement"]) if decision["gate"] else ""),
        ("Model called", looked_at.get("llm") or ""),
        ("Signed by", looked_at.get("signed_by") or ""),
        ("Approved by", looked_at.get("approved_by") or ""),
    ]
    return [(name, value) for name, value in facts if value]


def _pairs(found: Answer) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in sorted(found.items())]
