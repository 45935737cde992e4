"""Windows by event time, and the time in a prediction's id."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.sampling.prediction_time import EARLIEST, END, uuid7_time
from modeldrop.domain.sampling.windows import EPOCH, Placement, WindowRule, milliseconds, place, window_start

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
RULE = WindowRule(window_seconds=3600, future_tolerance_seconds=300, retention_seconds=86_400)
THIS_WINDOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1, 1, 10), timezones=zones)  # a week's window may begin a week earlier
any_moments = st.datetimes(timezones=zones)
window_lengths = st.integers(60, 604_800)


@given(moments, window_lengths)
def test_a_window_holds_its_times(moment: datetime, window_seconds: int) -> None:
    start = window_start(moment, window_seconds)
    assert start.tzinfo is UTC
    assert timedelta() <= moment - start < timedelta(seconds=window_seconds)
    assert (start - EPOCH) % timedelta(seconds=window_seconds) == timedelta()


@given(any_moments, any_moments, window_lengths)
def test_any_time_has_a_place(event_time: datetime, now: datetime, window_seconds: int) -> None:
    rule = WindowRule(window_seconds, 300, 86_400)
    now = max(now, datetime(1971, 1, 1, tzinfo=UTC))
    placement = place(event_time, now, rule)
    assert (placement.window is None) == (placement.verdict == "too_old")
    if placement.window is not None:
        assert placement.window <= now + timedelta(seconds=300)
        assert now - placement.window < timedelta(seconds=86_400 + window_seconds)


@pytest.mark.parametrize(
    ("event_time", "expected"),
    [
        (NOW, Placement("in_its_window", THIS_WINDOW)),
        (THIS_WINDOW, Placement("in_its_window", THIS_WINDOW)),
        (THIS_WINDOW - TICK, Placement("in_its_window", THIS_WINDOW - timedelta(hours=1))),
        (NOW + 300 * SECOND, Placement("in_its_window", THIS_WINDOW)),
        (NOW + 300 * SECOND + TICK, Placement("from_the_future", THIS_WINDOW)),
        (datetime.max.replace(tzinfo=UTC), Placement("from_the_future", THIS_WINDOW)),
        (datetime(2026, 2, 28, 12, tzinfo=UTC), Placement("in_its_window", datetime(2026, 2, 28, 12, tzinfo=UTC))),
        (datetime(2026, 2, 28, 12, tzinfo=UTC) - TICK, Placement("too_old", None)),
        (datetime.min.replace(tzinfo=UTC), Placement("too_old", None)),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), Placement("too_old", None)),
    ],
)
def test_where_an_event_is_counted(event_time: datetime, expected: Placement) -> None:
    assert place(event_time, NOW, RULE) == expected


def test_a_window_closes_for_all_its_events_at_once() -> None:
    first = datetime(2026, 2, 28, 11, tzinfo=UTC)
    last = first + 3600 * SECOND - TICK
    closing = first + timedelta(seconds=3600 + 86_400)
    for now, verdict in ((closing - TICK, "in_its_window"), (closing, "too_old")):
        assert {place(event_time, now, RULE).verdict for event_time in (first, last)} == {verdict}


def test_near_the_edge_of_the_next_window_a_fast_clock_counts_there() -> None:
    now = THIS_WINDOW - SECOND
    assert place(THIS_WINDOW + SECOND, now, RULE) == Placement("in_its_window", THIS_WINDOW)


def test_a_time_without_a_zone_is_no_time() -> None:
    with pytest.raises(TypeError):
        place(datetime(2026, 3, 1), NOW, RULE)
    with pytest.raises(TypeError):
        window_start(datetime(2026, 3, 1), 3600)


@given(any_moments)
def test_milliseconds_round_down(moment: datetime) -> None:
    assert timedelta() <= (moment - EPOCH) - timedelta(milliseconds=milliseconds(moment)) < timedelta(milliseconds=1)


# --- ids that carry a time ---------------------------------------------------------------------------------------


def uuid7(time_ms: int, random_bits: int) -> str:
    bits = (time_ms << 80) | (7 << 76) | ((random_bits >> 62 & 0xFFF) << 64) | (2 << 62) | (random_bits & (2**62 - 1))
    return str(UUID(int=bits))


@given(st.datetimes(EARLIEST.replace(tzinfo=None), END.replace(tzinfo=None) - SECOND), st.integers(0, 2**74 - 1))
def test_a_uuid7_carries_its_time(made: datetime, random_bits: int) -> None:
    time_ms = milliseconds(made.replace(tzinfo=UTC))
    prediction_id = uuid7(time_ms, random_bits)
    assert uuid7_time(prediction_id) == uuid7_time(prediction_id.upper()) == EPOCH + timedelta(milliseconds=time_ms)


@pytest.mark.parametrize(
    "prediction_id",
    [
        "",
        "order-1",
        "017f22e2-79b0-7cc3-78c4-dc0c0c07398f",  # another variant
        "017f22e2-79b0-7cc3-c8c4-dc0c0c07398f",
        "017f22e2-79b0-1cc3-98c4-dc0c0c07398f",  # version 1
        "017f22e279b07cc398c4dc0c0c07398f",  # 32 digits may be anything
        "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f\n",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398ff",
        "\N{FULLWIDTH DIGIT ZERO}17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        uuid7(0, 1),
        uuid7(2**48 - 1, 1),  # the year 10889
        uuid7(milliseconds(EARLIEST) - 1, 1),
        uuid7(milliseconds(END), 1),
    ],
)
def test_other_ids_carry_no_time(prediction_id: str) -> None:
    assert uuid7_time(prediction_id) is None


def test_random_uuids_carry_no_time() -> None:
    assert all(uuid7_time(str(uuid4())) is None for _ in range(1_000))


@given(st.text(st.characters(), max_size=40))
def test_any_text_can_be_asked(prediction_id: str) -> None:
    assert uuid7_time(prediction_id) is None
