"""Settings of the inference service: nobody is let in by omission, and everything wrong is named."""

from dataclasses import fields
from pathlib import Path

import pytest

from modeldrop.errors import ConfigurationError
from modeldrop.settings import (
    ServiceSettings,
    read_service_settings,
    read_serving_settings,
    read_settings,
    variable,
)

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "inference.md").read_text()
NAMES = [variable(field.name) for field in fields(ServiceSettings)]


@pytest.mark.parametrize("name", [*NAMES, "MODELDROP_SERVED_POINTER"])
def test_each_is_documented(name: str) -> None:
    assert f"`{name}`" in DOCUMENTED


def test_nothing_is_on_by_itself() -> None:
    settings = read_service_settings({})
    assert settings.serving_auth is None
    assert (settings.instances_per_second, settings.response_cache_seconds, settings.predictions_target) == (0, 0, None)


def test_vertex_and_the_embedded_cloud_check_callers_themselves() -> None:
    assert read_service_settings({"AIP_HTTP_PORT": "8080"}).serving_auth == "none"
    strict = {"AIP_HTTP_PORT": "8080", "MODELDROP_SERVING_AUTH": "api_keys", "MODELDROP_API_KEYS": "keys.json"}
    assert read_service_settings(strict).serving_auth == "api_keys"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"MODELDROP_SERVING_AUTH": "iam"}, ["MODELDROP_SERVING_AUTH"]),
        ({"MODELDROP_SERVING_AUTH": "api_keys"}, ["MODELDROP_API_KEYS"]),
        ({"MODELDROP_SERVING_AUTH": "oidc"}, ["MODELDROP_OIDC_AUDIENCE", "MODELDROP_OIDC_CALLERS"]),
        ({"MODELDROP_INSTANCES_PER_SECOND": "-1"}, ["MODELDROP_INSTANCES_PER_SECOND"]),
        ({"MODELDROP_INSTANCES_PER_SECOND": "nan"}, ["MODELDROP_INSTANCES_PER_SECOND"]),
        ({"MODELDROP_INSTANCES_BURST": "0"}, ["MODELDROP_INSTANCES_BURST"]),
        ({"MODELDROP_RESPONSE_CACHE_SECONDS": "inf"}, ["MODELDROP_RESPONSE_CACHE_SECONDS"]),
        (
            {"MODELDROP_RESPONSE_CACHE_BYTES": "1.5", "MODELDROP_POINTER_SECONDS": "0"},
            ["MODELDROP_RESPONSE_CACHE_BYTES", "MODELDROP_POINTER_SECONDS"],
        ),
    ],
)
def test_everything_wrong_is_named(environment: dict[str, str], named: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_service_settings(environment)
    assert all(name in str(caught.value) for name in named)


def test_a_pointer_needs_nothing_else() -> None:
    settings = read_serving_settings({"MODELDROP_SERVED_POINTER": "gs://b/serving/m.json", "AIP_HEALTH_ROUTE": "/h"})
    assert (settings.pointer, settings.health_route, settings.version) == ("gs://b/serving/m.json", "/h", "")


def test_they_may_stand_beside_those_of_the_control_plane() -> None:
    control = {"MODELDROP_BACKEND": "local", "MODELDROP_DATA": "d"}
    assert read_settings(control | dict.fromkeys(NAMES, "x")).backend == "local"
