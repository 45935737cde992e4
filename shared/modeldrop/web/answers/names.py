"""Texts that answers and questions share, with their form."""

from typing import Annotated

from msgspec import Meta

MODEL_PATTERN = "[a-z][a-z0-9-]{0,62}"
VERSION_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,159}"
_ID_PATTERN = "[A-Za-z0-9][A-Za-z0-9._:~!+-]{0,399}"
END = r"$(?!\n)"
"""The end of a text, in Python as in JSON Schema: ``$`` alone is in Python also before a line break at the end."""
_TIME = {"format": "date-time"}

Version = Annotated[str, Meta(pattern=f"^{VERSION_PATTERN}{END}", examples=["v3"])]
PageId = Annotated[
    str, Meta(pattern=f"^{_ID_PATTERN}{END}", description="Goes on after this one: `next` of the page before.")
]
Limit = Annotated[int, Meta(ge=1, le=200, description="At most so many rows.")]
Instant = Annotated[str, Meta(extra_json_schema=_TIME, description="ISO 8601; UTC where it says no other zone.")]
Percent = Annotated[int, Meta(ge=0, le=100)]
Next = Annotated[str | None, Meta(description="Where the next page begins, for `before`; null: this is the last.")]
