"""The regularised upper incomplete gamma function, which gives the tails of the χ² distribution.

Q(a, x) = ∫ₓ^∞ t^(a-1)·e^-t dt / Γ(a): by the power series of P = 1 - Q below x = a + 1, and by the continued fraction
in the modified form of Lentz above (Abramowitz & Stegun 6.5.29 and 6.5.31; Thompson & Barnett 1986).
"""

import math

_PRECISION = 1e-14
_MOST_STEPS = 10_000  # a few hundred are enough for shapes up to 1,000; rounding must not keep a loop going for ever
_TINY = 1e-300


def upper_gamma(shape: float, x: float) -> float:
    """Q(shape, x) for shape > 0 and finite x >= 0, to about 12 digits; 0.0 where it is below the smallest float.

    >>> round(upper_gamma(1.0, 2.0), 12) == round(math.exp(-2.0), 12)
    True
    >>> upper_gamma(5.0, 0.0), upper_gamma(5.0, 1e9)
    (1.0, 0.0)
    """
    if x <= 0:
        return 1.0
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if front == 0.0:
        return 0.0 if x > shape else 1.0
    return 1.0 - front * _series(shape, x) if x < shape + 1 else front * _fraction(shape, x)


def _series(shape: float, x: float) -> float:
    """Σ x^k / (shape·(shape+1)…(shape+k)); the terms fall, as x < shape + 1."""
    term = total = 1.0 / shape
    for step in range(1, _MOST_STEPS):
        term *= x / (shape + step)
        total += term
        if term < total * _PRECISION:
            break
    return total


def _fraction(shape: float, x: float) -> float:
    """1 / (x+1-a - 1(1-a) / (x+3-a - 2(2-a) / (x+5-a - …)))."""
    b = x + 1.0 - shape
    c = 1.0 / _TINY
    d = 1.0 / b
    value = d
    for step in range(1, _MOST_STEPS):
        factor = -step * (step - shape)
        b += 2.0
        d = 1.0 / _away_from_zero(factor * d + b)
        c = _away_from_zero(b + factor / c)
        value *= c * d
        if abs(c * d - 1.0) < _PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
