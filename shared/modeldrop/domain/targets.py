r"""Where a policy sends things: targets that retrain, and channels that tell people. Each kind says what it needs.

Secrets are never in a policy, only references to them: ``projects/{project}/secrets/{name}[/versions/{version}]`` in
Secret Manager, or on the embedded cloud ``env:MODELDROP_SECRET_…``. Which addresses may be called is decided again when
they are: what a name resolves to is known only then.

Patterns end in ``\Z``: ``$`` would let a line break pass at the end.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from modeldrop.domain.news import Kind

Url = Annotated[
    str,
    Meta(
        pattern=r"^(https://[^\s@#/?]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?)(/[^\s#]*)?\Z",
        max_length=2048,
        description="https; plain http only on loopback",
    ),
]
SecretReference = Annotated[
    str,
    Meta(
        pattern=(
            r"^(env:MODELDROP_SECRET_[A-Z0-9_]{1,100}"
            r"|projects/[a-z0-9.:-]{1,64}/secrets/[A-Za-z0-9_-]{1,255}(/versions/[a-z0-9-]{1,64})?)\Z"
        )
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^(?!\.{1,2}\Z)[^\s/?#%]+\Z")]
Address = Annotated[str, Meta(max_length=254, pattern=r"^[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,189}\Z")]
TopicName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9._~+%-]{2,254}\Z")]


class _Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """``type`` says which kind it is."""


class AirflowTarget(_Named, frozen=True, tag="airflow"):
    """A DAG run; its id is the episode's. ``api``: ``v2`` is Airflow 3, ``v1`` Airflow 2."""

    url: Url  # of the web server or API server, without /api
    dag: Name
    api: Literal["v1", "v2"] = "v2"
    username: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    password: SecretReference | None = None
    token: SecretReference | None = None  # a bearer token, instead of username and password


class GithubTarget(_Named, frozen=True, tag="github"):
    """A workflow: ``workflow`` is dispatched by its file name; without one, ``event_type`` is sent to the repository.

    The workflow must carry the episode in its ``run-name``, set off by spaces: ``retrain ${{ inputs.episode }}``. By
    that a run is found again. A dispatched one declares the inputs episode, model, version, cause, report, window and
    lineage, all of them strings.
    """

    repository: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,39}/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\Z")]
    token: SecretReference
    workflow: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}\Z")] | None = None
    ref: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\s~^:?*\[\\]+\Z")] = "main"
    event_type: Annotated[str, Meta(min_length=1, max_length=100)] = "modeldrop-retrain"
    url: Url = "https://api.github.com"


class VertexPipelineTarget(_Named, frozen=True, tag="vertex_pipeline"):
    """A Vertex AI pipeline job; its id is the episode's.

    ``template``: a compiled pipeline (``gs://….json``) or an ``https://`` address in Artifact Registry.
    """

    template: Annotated[str, Meta(pattern=r"^(gs://[^\s]+\.(json|yaml|yml)|https://[^\s]+)\Z", max_length=1024)]
    root: Annotated[str, Meta(pattern=r"^gs://[^\s]+\Z", max_length=1024)]
    service_account: Address | None = None
    parameters: dict[
        Annotated[str, Meta(min_length=1, max_length=128)], str | int | float | bool
    ] = {}  # besides those of the episode


class PubsubTarget(_Named, frozen=True, tag="pubsub"):
    """A message on a topic of the same project; the attribute ``episode`` is its key."""

    topic: TopicName


class WebhookTarget(_Named, frozen=True, tag="webhook"):
    """A signed request; any 2xx is taken as accepted."""

    url: Url
    secret: SecretReference | None = None


Target = AirflowTarget | GithubTarget | VertexPipelineTarget | PubsubTarget | WebhookTarget
Kinds = Annotated[list[Kind], Meta(min_length=1)]


class SlackChannel(_Named, frozen=True, tag="slack"):
    """An incoming webhook of Slack. Its address is a secret: better referred to than written down (``url``).

    With neither, it is the one that the settings refer to.
    """

    on: Kinds
    webhook: SecretReference | None = None
    url: Url | None = None


class EmailChannel(_Named, frozen=True, tag="email"):
    """Mail, through the server that the settings name."""

    to: Annotated[list[Address], Meta(min_length=1, max_length=50)]
    on: Kinds


class WebhookChannel(_Named, frozen=True, tag="webhook"):
    """A signed request; any 2xx is taken as delivered."""

    url: Url
    on: Kinds
    secret: SecretReference | None = None


class PubsubChannel(_Named, frozen=True, tag="pubsub"):
    """A message on a topic of the same project."""

    topic: TopicName
    on: Kinds


Channel = SlackChannel | EmailChannel | WebhookChannel | PubsubChannel


def describe(place: Target | Channel) -> str:
    """A name for people and logs, without anything secret.

    >>> describe(WebhookChannel("https://hooks.example.com/a?key=1", ["drift"]))
    'webhook hooks.example.com'
    """
    kind = str(place.__struct_config__.tag)
    match place:
        case AirflowTarget():
            where = f"{_host(place.url)} {place.dag}"
        case GithubTarget():
            where = f"{place.repository} {place.workflow or place.event_type}"
        case VertexPipelineTarget():
            where = place.template
        case PubsubTarget() | PubsubChannel():
            where = place.topic
        case WebhookTarget() | WebhookChannel():
            where = _host(place.url)
        case EmailChannel():
            where = ", ".join(place.to)
        case SlackChannel():
            where = ""
    return f"{kind} {where}".strip()


def _host(url: str) -> str:
    return url.split("://", 1)[1].split("/", 1)[0].split("?", 1)[0]
