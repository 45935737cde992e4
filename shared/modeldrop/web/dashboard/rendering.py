"""Templates to replies: everything is escaped, undefined names are errors, and nothing inline may run."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2

from modeldrop.http.messages import Reply
from modeldrop.web.callers.caller import Caller
from modeldrop.web.dashboard.assets import asset_name
from modeldrop.web.dashboard.moments import moment

HTML = "text/html; charset=utf-8"
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_CHANGES_BY_ITSELF = re.compile(r'<span class="age">[^<]*</span>|<footer.*?</footer>', re.DOTALL)


@dataclass(frozen=True)
class Viewer:
    """For whom a page is made (None: nobody who is known), and when."""

    caller: Caller | None
    now: datetime


def page(template: str, viewer: Viewer, status: int = 200, **content: Any) -> Reply:
    """A page.

    Its ETag leaves out how long ago things are, which the script keeps up by itself: it changes when the content does.
    """
    shown = {
        **content,
        "caller": viewer.caller,
        "made": moment(viewer.now, viewer.now),
        "sees_audit": viewer.caller is not None and "operator" in viewer.caller.roles,
    }
    text = _templates().get_template(template).render(shown)
    headers = {"Content-Security-Policy": POLICY}
    if status == 200:
        headers["ETag"] = f'W/"{hashlib.sha256(_CHANGES_BY_ITSELF.sub("", text).encode()).hexdigest()[:32]}"'
    return Reply(status, text.encode(), headers, HTML)


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {"asset": asset_name, "query": _query}
    environment.filters["segment"] = _segment
    return environment


def _query(parameters: Mapping[str, str | None] | None = None, **more: str | None) -> str:
    """``?…`` of the parameters that have a value."""
    given = {name: value for name, value in {**(parameters or {}), **more}.items() if value}
    return f"?{urlencode(given)}" if given else ""


def _segment(text: str) -> str:
    """A name as one segment of a path."""
    return quote(text, safe="")
