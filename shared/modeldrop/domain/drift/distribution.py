"""What a picture of a column needs: shares of both sides over the same bins, or the same categories. No numpy here."""

import msgspec


class NumericDistribution(msgspec.Struct, frozen=True, tag_field="kind", tag="numeric"):
    """Bin i holds ``edges[i]`` < x <= ``edges[i + 1]``; the first and the last also hold what lies beyond them.

    Shares are of the values a side has, so that they sum to 1; they are rounded to six places.
    """

    edges: list[float]  # ascending, one more than bins
    reference: list[float]
    live: list[float]


class CategoricalDistribution(msgspec.Struct, frozen=True, tag_field="kind", tag="categorical"):
    """Shares by category, the most frequent of the reference first; ``(other)``, the last, is what has no place.

    Shares are of the values a side has, so that they sum to 1; they are rounded to six places.
    """

    categories: list[str]
    reference: list[float]
    live: list[float]


Distribution = NumericDistribution | CategoricalDistribution
