"""A text as four numbers, so that its drift can be seen without keeping it.

Made where a prediction event comes in; no numpy here, ingest does without it.
"""

from typing import NamedTuple

DIGITS = "0123456789"


class TextFeatures(NamedTuple):
    """What is kept of a text. As JSON: a list of the four, in this order."""

    length: int  # characters (code points)
    words: int  # separated by white space
    digits: float  # share of the characters that are 0 to 9
    non_ascii: float  # share of the characters that are not ASCII


def text_features(text: str) -> TextFeatures:
    """The four numbers; 0 for an empty text. Any string will do, lone surrogates too (they are not ASCII).

    >>> text_features("Pay 250 €")
    TextFeatures(length=9, words=3, digits=0.3333333333333333, non_ascii=0.1111111111111111)
    """
    length = len(text)
    if length == 0:
        return TextFeatures(0, 0, 0.0, 0.0)
    digits = sum(text.count(digit) for digit in DIGITS)
    non_ascii = 0 if text.isascii() else length - len(text.encode("ascii", "ignore"))
    return TextFeatures(length, len(text.split()), digits / length, non_ascii / length)
