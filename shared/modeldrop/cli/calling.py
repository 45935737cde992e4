"""What the commands share: the address, the request, the answer, and how they end."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import quote

import typer

from modeldrop.errors import FieldProblem, Unavailable

if TYPE_CHECKING:
    import httpx

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_DATA = Path("modeldrop-data")
NOT_DONE = 1
BAD_INPUT = 2

Url = Annotated[str, typer.Option(envvar="MODELDROP_URL", help="Address of the control plane.")]
Data = Annotated[Path, typer.Option(help="Folder of the embedded cloud.", file_okay=False)]
Keys = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="JSON file of signing keys.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    """Say what is wrong and end."""
    from modeldrop.web.terminal import plain

    typer.secho(plain(f"modeldrop: {message}"), err=True, fg=typer.colors.RED)
    sys.exit(code)


def fail_with(problems: Iterable[FieldProblem], code: int = NOT_DONE) -> NoReturn:
    """Say everything that is wrong, one reason a line, and end."""
    from modeldrop.web.terminal import plain

    for problem in problems:
        typer.secho(plain(f"modeldrop: {problem}"), err=True, fg=typer.colors.RED)
    sys.exit(code)


def get(url: str, *path: str, code: int = NOT_DONE, **query: str) -> dict[str, Any]:
    """What the API answers; ends with ``code`` where it refuses."""
    return answer(url, request("GET", url, path, params=query), code)


def answer(url: str, response: "httpx.Response", code: int = NOT_DONE) -> dict[str, Any]:
    """The answer's JSON object. Raises Unavailable if it is none; ends with ``code`` if it is a problem."""
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Unavailable(f"{url} does not answer as modeldrop does. Is it its address?")
    if response.is_error:
        fail(str(content.get("detail", response.text)), code)
    return content


def request(method: str, url: str, path: Iterable[str], **content: Any) -> "httpx.Response":
    """The answer to a request for the path of these segments. Raises Unavailable where there is none."""
    import httpx

    segments = "/".join(quote(segment, safe="", errors="surrogateescape") for segment in path)
    try:
        return httpx.request(method, f"{url.rstrip('/')}/{segments}", timeout=60, trust_env=False, **content)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"{url} cannot be reached: {error}. Is modeldrop up running?") from None
