"""Names that a shell offers: models and versions, as the control plane knows them. Whoever waits for the shell waits
for this, so it asks once, for two seconds at most, and offers nothing where there is no answer."""

import os
import re
from contextlib import suppress
from typing import Any

import typer

from modeldrop.cli.control_plane import DEFAULT_URL, ControlPlane, checked_url
from modeldrop.cli.ending import Ended
from modeldrop.cli.identity_tokens import IdentityTokens
from modeldrop.errors import ModeldropError

ANSWER_SECONDS = 2.0
GCLOUD_SECONDS = 3.0
_OFFERED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,159}")
"""What may be offered: some shells evaluate what they are given."""


def model_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Models whose names begin so."""
    return [name for name in _names(ctx, "model", "models") if name.startswith(incomplete)]


def version_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Versions of the model that was typed before, whose names begin so; the newest first."""
    # After an option that still lacks its value the arguments before it are not told apart yet.
    model = ctx.params.get("model") or next(iter(ctx.args), None)
    if not isinstance(model, str) or not _OFFERED.fullmatch(model):
        return []
    return [name for name in _names(ctx, "version", f"models/{model}/versions") if name.startswith(incomplete)]


def _names(ctx: typer.Context, field: str, path: str) -> list[str]:
    with suppress(Ended, ModeldropError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
        plane = _asked(ctx)
        with plane.connected() as client:
            answer = client.get(f"{plane.url}/v1/{path}", params={"limit": 200}).json()
        return [row[field] for row in answer[path.rsplit("/", 1)[-1]] if _OFFERED.fullmatch(row[field])]
    return []


def _asked(ctx: typer.Context) -> ControlPlane:
    """The control plane of the line typed so far: nothing of it has been carried out."""
    root: dict[str, Any] = ctx.find_root().params
    typed = _typed_url(ctx.params.get("url")) or _typed_url(root.get("url"))
    url = typed or os.environ.get("MODELDROP_URL") or DEFAULT_URL.url
    tokens = IdentityTokens(root.get("account"), root.get("audience"), GCLOUD_SECONDS)
    return ControlPlane(checked_url(url), ANSWER_SECONDS, tokens)


def _typed_url(value: object) -> str | None:
    if isinstance(value, ControlPlane):
        return None if value is DEFAULT_URL else value.url
    return value if isinstance(value, str) else None
