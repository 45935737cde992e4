"""The function ``api`` over the same folder as the test's control plane."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functions.api_calls import client_of_function, environment
from tests.handlers.control import Control


@pytest.fixture
def function_folder(tmp_path: Path) -> Iterator[Path]:
    """The folder that the function reads."""
    with environment(tmp_path):
        yield tmp_path


@pytest.fixture
def client(control: Control) -> Any:
    """Calls the function, once there is something to be asked."""
    return client_of_function()
