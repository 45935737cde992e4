"""A control plane for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.handlers.control import FAST, Control
from tests.servers.receiver import Receiver


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """Empty, with a policy that does not wait."""
    control = Control(tmp_path)
    control.policy(FAST)
    return control


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody who is told, or asked."""
    with Receiver() as receiver:
        yield receiver
