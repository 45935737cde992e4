"""Which names an object in a bucket may have; the same for every bucket, and checked before any of them is asked.

A name is 1 to 1,024 bytes of UTF-8, relative, made of segments between slashes. No segment is empty, ``.`` or ``..``,
and nothing holds NUL, CR or LF. These are the rules of Cloud Storage narrowed to what a folder can hold too, so that a
name never means one object in one bucket and another object (or a way out of the folder) in the other.

A name is taken as it stands: ``%2f`` is three characters, never a slash.
"""

from modeldrop.errors import InvalidName

MAX_NAME_BYTES = 1024
_FORBIDDEN_CHARACTERS = "\0\r\n"
_FORBIDDEN_SEGMENTS = ("", ".", "..")
_SHOWN_CHARACTERS = 80


def check_object_name(name: str) -> None:
    """Raise InvalidName, with the reason, unless an object may have this name.

    >>> check_object_name("models/fraud/v1/metadata.json")
    >>> check_object_name("models/../secrets")
    Traceback (most recent call last):
    modeldrop.errors.InvalidName: 'models/../secrets' has a segment '..'
    """
    problem = _text_problem(name) or _segment_problem(name.split("/"))
    if problem:
        raise InvalidName(f"{_shown(name)} {problem}")


def check_object_prefix(prefix: str) -> None:
    """Raise InvalidName, with the reason, unless some legal name could start like this.

    The last segment is unfinished, so it may be empty or dots: ``a/..`` is the start of ``a/..b``.

    >>> check_object_prefix("models/")
    >>> check_object_prefix("/models")
    Traceback (most recent call last):
    modeldrop.errors.InvalidName: '/models' has a segment ''
    """
    problem = _text_problem(prefix) or _segment_problem(prefix.split("/")[:-1])
    if problem:
        raise InvalidName(f"{_shown(prefix)} {problem}")


def is_object_name(name: str) -> bool:
    """Whether an object may have this name.

    >>> is_object_name("a..b/%2f"), is_object_name("folder/")
    (True, False)
    """
    return not (_text_problem(name) or _segment_problem(name.split("/")))


def _text_problem(text: str) -> str | None:
    # Characters first: there are never fewer bytes than characters, and a huge text need not be encoded to know it.
    if len(text) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return "is not text: it holds a lone surrogate"
    if len(encoded) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    if any(character in text for character in _FORBIDDEN_CHARACTERS):
        return "holds NUL, CR or LF"
    return None


def _segment_problem(segments: list[str]) -> str | None:
    bad = next((segment for segment in segments if segment in _FORBIDDEN_SEGMENTS), None)
    return None if bad is None else f"has a segment {bad!r}"


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!r}…"
