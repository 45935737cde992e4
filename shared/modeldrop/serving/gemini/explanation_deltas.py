"""The explanation of a streamed answer, as it is being written.

Only this: SQL is shown after it was checked, never before. The explanation is the first field of the JSON the LLM is
made to write. An answer that begins otherwise has no deltas.
"""

import json
import re

LONGEST_EXPLANATION = 2_000
"""Characters; the rest is dropped."""

_BEGIN = re.compile(r'\s*\{\s*"explanation"\s*:\s*"')
_LONGEST_BEGIN = 256
# Characters and escapes that are whole; the two halves of a surrogate pair belong together.
_WHOLE = re.compile(
    r'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'
    r"|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4})*"
)
# What may become whole with more text; anything else is the end of the string, or no JSON.
_BEGUN = re.compile(r"\\(?:u[0-9a-fA-F]{0,4}|u[dD][89abAB][0-9a-fA-F]{2}\\(?:u[0-9a-fA-F]{0,3})?)?")


class ExplanationDeltas:
    """Reads one answer, piece by piece.

    >>> deltas = ExplanationDeltas()
    >>> [deltas.add(piece) for piece in ('{"expl', 'anation": "Counts \\\\u00', 'fc all", "sql_query": "SELECT')]
    ['', 'Counts ', 'ü all']
    """

    def __init__(self) -> None:
        self._waiting = ""
        self._has_begun = self._has_ended = False
        self._left = LONGEST_EXPLANATION

    def add(self, piece: str) -> str:
        """What this piece adds to the explanation; "" for nothing."""
        if self._has_ended:
            return ""
        self._waiting += piece
        if not self._has_begun and not self._begin():
            return ""
        match = _WHOLE.match(self._waiting)
        assert match is not None  # it matches nothing at all, too
        self._waiting = self._waiting[match.end() :]
        self._has_ended = bool(self._waiting) and _BEGUN.fullmatch(self._waiting) is None
        text: str = clean(json.loads(f'"{match[0]}"'))[: self._left]
        self._left -= len(text)
        self._has_ended = self._has_ended or self._left == 0
        return text

    def _begin(self) -> bool:
        match = _BEGIN.match(self._waiting)
        if match:
            self._has_begun = True
            self._waiting = self._waiting[match.end() :]
        else:
            self._has_ended = len(self._waiting) > _LONGEST_BEGIN
        return self._has_begun


def clean(text: str) -> str:
    """Without control characters and the like; line ends and spaces stay.

    >>> clean("a\\x00b\\nc")
    'a b\\nc'
    """
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)
