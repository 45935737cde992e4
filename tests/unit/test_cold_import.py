"""Cold start: importing a function brings along nothing heavy, whatever else is installed.

What the framework itself loads is no matter of ours: a function that does nothing is the yardstick. How long the
import takes is measured by ``make bench``.
"""

from pathlib import Path

import pytest

from tests.bench.cold_import import (
    HEAVY,
    NO_OP,
    NO_OP_SOURCE,
    function_sources,
    heavy_among,
    import_function,
    write_no_op,
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The modules the framework loads for a function that does nothing."""
    return import_function(NO_OP, write_no_op(tmp_path_factory.mktemp("no-op"))).modules


def test_the_framework_alone_loads_nothing_heavy(bare: frozenset[str]) -> None:
    # Otherwise the tests below would say nothing about those packages.
    assert heavy_among(bare, frozenset()) == []


@pytest.mark.parametrize("name", function_sources())
def test_a_function_imports_nothing_heavy(name: str, bare: frozenset[str]) -> None:
    modules = import_function(name, function_sources()[name]).modules
    assert "modeldrop" in modules, "the function was not loaded"
    assert heavy_among(modules, bare) == []
    assert sorted(module for module in modules - bare if module.startswith("google.")) == []


@pytest.mark.parametrize("heavy", ["yaml", "httpx", "google.auth"])
def test_a_heavy_import_is_found(heavy: str, tmp_path: Path, bare: frozenset[str]) -> None:
    source = tmp_path / "main.py"
    source.write_text(f"import {heavy}\n{NO_OP_SOURCE}")
    assert heavy in HEAVY
    assert heavy in heavy_among(import_function(NO_OP, source).modules, bare)


def test_every_function_is_looked_at() -> None:
    assert {"model_uploaded", "health_tick", "api", "predict"} <= function_sources().keys()
