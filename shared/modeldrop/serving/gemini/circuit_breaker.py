"""When to stop asking a service that does not answer, and when to ask again: the decision, without a clock.

                 failures in a row
    closed ────────────────────────────▶ open ──── open_seconds pass ────▶ half open (one call is let through)
      ▲                                   ▲                                  │ it fails │ it succeeds
      └───────────────────────────────────┼──────────────────────────────────┼──────────┘
                                          └──────────────────────────────────┘
M. Nygard, Release It! (2007), "Circuit Breaker". A call gets a ticket and hands it back with its outcome: outcomes of
calls that began before the circuit last changed say nothing about it now, and are not counted.
"""

import msgspec


class BreakerRules(msgspec.Struct, frozen=True):
    """When it opens, and for how long."""

    failures_to_open: int = 5
    open_seconds: float = 20.0


class Circuit(msgspec.Struct, frozen=True):
    """The state. Times are seconds of any one clock."""

    failures: int = 0
    """In a row, while closed."""
    opened_at: float | None = None
    """None: closed."""
    probe_at: float | None = None
    """When the one call of a half-open circuit began."""
    ticket: int = 0
    """What calls of now carry; another one after every change between closed, open and half open."""


def ask(circuit: Circuit, now: float, rules: BreakerRules) -> tuple[Circuit, int | None]:
    """The ticket for a call, or None if it must not be made now.

    A call of a half-open circuit that never comes back holds others up for ``open_seconds``, and no longer.

    >>> ask(Circuit(opened_at=100.0), 119.0, BreakerRules())[1], ask(Circuit(opened_at=100.0), 120.0, BreakerRules())[1]
    (None, 1)
    """
    if circuit.opened_at is None:
        return circuit, circuit.ticket
    waits_since = circuit.opened_at if circuit.probe_at is None else circuit.probe_at
    if now - waits_since < rules.open_seconds:
        return circuit, None
    probing = msgspec.structs.replace(circuit, probe_at=now, ticket=circuit.ticket + 1)
    return probing, probing.ticket


def succeeded(circuit: Circuit, ticket: int) -> Circuit:
    """After an answer, whatever it says."""
    if ticket != circuit.ticket:
        return circuit
    if circuit.opened_at is not None:
        return Circuit(ticket=circuit.ticket + 1)
    return msgspec.structs.replace(circuit, failures=0) if circuit.failures else circuit


def failed(circuit: Circuit, ticket: int, now: float, rules: BreakerRules) -> Circuit:
    """After a call without an answer.

    >>> failed(Circuit(failures=4), 0, 100.0, BreakerRules())
    Circuit(failures=0, opened_at=100.0, probe_at=None, ticket=1)
    """
    if ticket != circuit.ticket:
        return circuit
    failures = circuit.failures + 1
    if circuit.opened_at is None and failures < rules.failures_to_open:
        return msgspec.structs.replace(circuit, failures=failures)
    return Circuit(opened_at=now, ticket=circuit.ticket + 1)


def given_up(circuit: Circuit, ticket: int) -> Circuit:
    """After a call whose outcome nobody waited for: the next one may try, at once if it was that of a half-open one."""
    if ticket != circuit.ticket or circuit.opened_at is None:
        return circuit
    return msgspec.structs.replace(circuit, probe_at=None, ticket=circuit.ticket + 1)


def seconds_left(circuit: Circuit, now: float, rules: BreakerRules) -> float:
    """How long no call will be let through; 0 while one would be."""
    if circuit.opened_at is None:
        return 0.0
    waits_since = circuit.opened_at if circuit.probe_at is None else circuit.probe_at
    return max(0.0, waits_since + rules.open_seconds - now)
