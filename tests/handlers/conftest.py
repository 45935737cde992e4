"""A control plane for each test."""

from pathlib import Path

import pytest

from tests.handlers.control import FAST, Control


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """Empty, with a policy that does not wait."""
    control = Control(tmp_path)
    control.policy(FAST)
    return control
