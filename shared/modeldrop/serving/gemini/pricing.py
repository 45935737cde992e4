"""What an answer costs: tokens by the price list of the Gemini API.

Dollars for a million tokens, paid tier, text, prompts of up to 200,000 tokens (ours are shorter). What a model thinks
is paid as output. Source: "Gemini Developer API pricing", https://ai.google.dev/gemini-api/docs/pricing, as others
quoted it from January to March 2026; the page itself was not at hand when this was written, in November 2026. Prices
change: a package states its own with the labels ``price_in`` and ``price_out``; a model with neither labels nor a row
here has no known cost.
"""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from modeldrop.errors import FieldProblem

MILLION = 1_000_000
HIGHEST_PRICE = 10_000.0


class Price(msgspec.Struct, frozen=True):
    """Dollars for a million tokens."""

    tokens_in: float
    tokens_out: float

    def cost_usd(self, tokens_in: int | None, tokens_out: int | None) -> float | None:
        """What so many tokens cost; None where they are not known.

        >>> Price(0.30, 2.50).cost_usd(1_000, 200)
        0.0008
        """
        if tokens_in is None or tokens_out is None:
            return None
        return round((tokens_in * self.tokens_in + tokens_out * self.tokens_out) / MILLION, 9)


PRICES: Mapping[str, Price] = {
    "gemini-2.5-pro": Price(1.25, 10.00),
    "gemini-2.5-flash": Price(0.30, 2.50),
    "gemini-2.5-flash-lite": Price(0.10, 0.40),
}


def read_price(llm: str, labels: Mapping[str, Any], problems: list[FieldProblem]) -> Price | None:
    """The package's own price, else the table's, else None; ``problems`` grows by what is wrong with the labels."""
    given = {name: labels[name] for name in ("price_in", "price_out") if name in labels}
    if not given:
        return PRICES.get(llm.rpartition("/")[2])
    if len(given) == 1:
        problems.append(FieldProblem("labels", "price_in and price_out are stated both or neither"))
    amounts = {name: _amount(text) for name, text in given.items()}
    problems += [
        FieldProblem(f"labels.{name}", f"must be dollars for a million tokens, from 0 to {HIGHEST_PRICE:,.0f}")
        for name, amount in amounts.items()
        if amount is None
    ]
    into, out = amounts.get("price_in"), amounts.get("price_out")
    return None if into is None or out is None else Price(into, out)


def _amount(text: object) -> float | None:
    try:
        amount = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return abs(amount) if 0 <= amount <= HIGHEST_PRICE else None  # abs: "-0" is in the range
