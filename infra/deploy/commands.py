"""The gcloud commands of a deployment, as lists of arguments. Nothing here runs anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.deploy.functions_table import Function, Secret, Table

TRIGGERS_ACCOUNT = "modeldrop-trigger"
DELIMITER = "|"  # of lists whose values may have commas: gcloud topic escaping
LOCK = "deployments/lock.json"
"""The object in the models' bucket that only one deployment has at a time."""
ACCESS_TOKEN = ["gcloud", "auth", "print-access-token"]


class Wrong(Exception):
    """What was asked for cannot be deployed; the text says why."""


@dataclass(frozen=True)
class Access:
    """Who may do what over the API, in the words of its settings: e-mails, ``@domain``, ``*``.

    ``iap_audience``: what Identity-Aware Proxy's tokens are made for, where it stands before the API.
    """

    viewers: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    iap_audience: str = ""

    def environment(self, with_iap: Mapping[str, str], also_look: tuple[str, ...] = ()) -> dict[str, str]:
        """The API's variables. ``also_look``: e-mails of those that look, too, where not everybody does.

        >>> Access(operators=("a@example.com", "@ops.example.com")).environment({})
        {'MODELDROP_OPERATORS': 'a@example.com,@ops.example.com'}
        """
        viewers = (*self.viewers, *also_look) if self.viewers else ()
        roles = {"VIEWERS": viewers, "OPERATORS": self.operators, "APPROVERS": self.approvers}
        said = {f"MODELDROP_{role}": ",".join(who) for role, who in roles.items() if who}
        if self.iap_audience:
            said |= {name: value.format(iap_audience=self.iap_audience) for name, value in with_iap.items()}
        return said


@dataclass(frozen=True)
class Destination:
    """Where to, and what is that place's own. ``predict_image`` empty: packages have to bring their own image.

    ``settings``: MODELDROP_… variables beyond those of the table. ``secrets``: names of those to mount.
    """

    project: str
    region: str
    bucket: str
    database: str = "(default)"
    predict_image: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    api_callers: tuple[str, ...] = ()
    smoke_callers: tuple[str, ...] = ()
    """Members who may call every function because they smoke-test it."""
    bucket_location: str = ""
    """Where the bucket is, if not in ``region``: its events come from there."""
    ticks_paused: bool = False
    """Whether nothing may tick now, the smoke tests included: Scheduler's jobs stand still."""
    access: Access = field(default_factory=Access)

    def account(self, name: str) -> str:
        """The e-mail of one of modeldrop's accounts.

        >>> Destination("p", "r", "b").account("modeldrop-api")
        'modeldrop-api@p.iam.gserviceaccount.com'
        """
        return f"{name}@{self.project}.iam.gserviceaccount.com"

    @property
    def place(self) -> list[str]:
        """The flags that every command has."""
        return [f"--project={self.project}", f"--region={self.region}", "--quiet"]


def deploy(table: Table, function: Function, to: Destination) -> list[str]:
    """Builds the source tree and makes it the function's new revision, with all of the traffic.

    The last flag matters after a deployment was taken back: without it the traffic stays with the older revision.
    """
    return [
        *("gcloud", "functions", "deploy", function.name, "--gen2", *to.place),
        f"--runtime={table.runtime}",
        "--source=.",
        f"--entry-point={function.name}",
        f"--set-build-env-vars=GOOGLE_FUNCTION_SOURCE=functions/{function.name}/main.py",
        f"--build-service-account=projects/{to.project}/serviceAccounts/{to.account('modeldrop-build')}",
        f"--set-env-vars={_listed(environment(table, function, to))}",
        *_secrets(function, to),
        f"--memory={function.memory}",
        f"--cpu={function.cpu}",
        f"--concurrency={function.concurrency}",
        f"--timeout={function.timeout_seconds}s",
        f"--min-instances={function.min_instances}",
        f"--max-instances={function.max_instances}",
        f"--service-account={to.account(function.account)}",
        *_trigger(function, to),
        "--serve-all-traffic-latest-revision",
    ]


def environment(table: Table, function: Function, to: Destination) -> dict[str, str]:
    """The function's variables. Raises Wrong where a setting of the destination is not its to make."""
    places = {
        "project": to.project,
        "region": to.region,
        "bucket": to.bucket,
        "database": to.database,
        "predict_image": to.predict_image,
    }
    fixed = {name: value.format(**places) for name, value in (table.env | function.env).items()}
    fixed |= {"THREADS": str(function.concurrency)}
    fixed |= {secret.setting: secret.path for secret in _mounted(function, to)}
    if function.trigger["type"] == "http":
        smoke_testers = tuple(member.partition(":")[2] for member in to.smoke_callers)
        fixed |= to.access.environment(function.with_iap, smoke_testers)
    mounted_anywhere = {secret.setting for each in table.functions for secret in each.secrets}
    for name in to.settings:
        if not name.startswith("MODELDROP_"):
            raise Wrong(f"{name} is no setting of modeldrop")
        if name in fixed.keys() | table.env.keys() | mounted_anywhere:
            raise Wrong(f"{name} is set by infra/functions.yaml, or by a flag of its own")
    return {name: value for name, value in (fixed | dict(to.settings)).items() if value}


def let_call(function: Function, to: Destination) -> list[list[str]]:
    """Lets those call the function who have to. Repeating it changes nothing."""
    members = [f"serviceAccount:{to.account(name)}" for name in function.invoked_by]
    members += to.api_callers if function.trigger["type"] == "http" else ()
    members += [member for member in to.smoke_callers if member not in members]
    command = ["gcloud", "functions", "add-invoker-policy-binding", function.name, *to.place]
    return [[*command, f"--member={member}"] for member in members]


def state(function: Function, to: Destination) -> list[str]:
    """Tells whether the function is ``ACTIVE``, ``FAILED``, or still ``DEPLOYING``."""
    return ["gcloud", "functions", "describe", function.name, "--gen2", *to.place, "--format=value(state)"]


def serving_revisions(to: Destination) -> list[str]:
    """Which revision of each service has the traffic; an empty list where there is none yet."""
    return ["gcloud", "run", "services", "list", *to.place, "--format=json(metadata.name,status.traffic)"]


def bring_back(function: Function, revision: str, to: Destination) -> list[str]:
    """All traffic to the revision that had it before."""
    return [
        "gcloud",
        "run",
        "services",
        "update-traffic",
        function.service,
        *to.place,
        f"--to-revisions={revision}=100",
    ]


def newest_image(to: Destination) -> list[str]:
    """The digest of the predict image that was pushed last; empty where there is none."""
    return [
        *("gcloud", "artifacts", "docker", "images", "list", predict_repository(to)),
        *(f"--project={to.project}", "--quiet", "--sort-by=~UPDATE_TIME", "--limit=1", "--format=value(version)"),
    ]


def predict_repository(to: Destination) -> str:
    """Where images of functions/predict go, without tag or digest."""
    return f"{to.region}-docker.pkg.dev/{to.project}/modeldrop/predict"


def _trigger(function: Function, to: Destination) -> list[str]:
    if function.trigger["type"] != "gcs":
        return ["--trigger-http", "--no-allow-unauthenticated"]
    retry = ["--retry"] if function.retry else ["--no-retry"]
    return [
        f"--trigger-location={to.bucket_location or to.region}",
        f"--trigger-service-account={to.account(TRIGGERS_ACCOUNT)}",
        f"--trigger-event-filters=type={function.trigger['event']}",
        f"--trigger-event-filters=bucket={to.bucket}",
        *retry,
    ]


def _mounted(function: Function, to: Destination) -> list[Secret]:
    return [secret for secret in function.secrets if secret.name in to.secrets]


def _secrets(function: Function, to: Destination) -> list[str]:
    files = {secret.path: f"{secret.name}:latest" for secret in _mounted(function, to)}
    return [f"--set-secrets={_listed(files)}" if files else "--clear-secrets"]


def _listed(values: Mapping[str, str]) -> str:
    """As gcloud reads it back, commas in values included.

    >>> _listed({"A": "1,2", "B": "3"})
    '^|^A=1,2|B=3'
    """
    for name, value in values.items():
        if DELIMITER in value or "\n" in value:
            raise Wrong(f"{name} must have neither {DELIMITER} nor line ends")
    return f"^{DELIMITER}^" + DELIMITER.join(f"{name}={value}" for name, value in values.items())
