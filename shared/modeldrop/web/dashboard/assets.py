"""The style sheet and the script, under names that change with their content: browsers may keep them for ever."""

import hashlib
import re
from functools import cache
from pathlib import Path

from modeldrop.http.messages import Reply

FOLDER = Path(__file__).parent / "static"
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_NAME = re.compile(r"(style|page)-([0-9a-f]{12})\.(css|js)")
_FOR_EVER = "public, max-age=31536000, immutable"


@cache
def asset_name(file: str) -> str:
    """The name in the address of ``style.css`` or ``page.js``."""
    stem, kind = file.split(".")
    return f"{stem}-{hashlib.sha256(_content(file)).hexdigest()[:12]}.{kind}"


def asset(name: str) -> Reply | None:
    """The file of that name; None if there is none.

    Another release's name is answered with this release's file, and not kept: while one replaces the other, a page of
    the one may ask an instance of the other.
    """
    asked = _NAME.fullmatch(name)
    if asked is None:
        return None
    file = f"{asked[1]}.{asked[3]}"
    if not (FOLDER / file).is_file():
        return None
    kept = _FOR_EVER if asset_name(file) == name else "no-store"
    headers = {"Cache-Control": kept, "X-Content-Type-Options": "nosniff"}
    return Reply(200, _content(file), headers, _TYPES[asked[3]])


@cache
def _content(file: str) -> bytes:
    return (FOLDER / file).read_bytes()
