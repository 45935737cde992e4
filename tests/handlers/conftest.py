"""A control plane for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.handlers.control import FAST, Control
from tests.handlers.prediction_log import NOW
from tests.handlers.reporting import HOUR
from tests.servers.receiver import Receiver


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """Empty, with a policy that does not wait."""
    control = Control(tmp_path)
    control.policy(FAST)
    return control


@pytest.fixture
def serving(control: Control) -> Control:
    """v1 serves, and v2 after it; the windows of the day are over."""
    control.clock.now = NOW
    control.make_live("v1", 0.5, day=1)
    control.make_live("v2", 0.6, day=2)
    control.clock.now = NOW + 12 * HOUR
    return control


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody who is told, or asked."""
    with Receiver() as receiver:
        yield receiver
