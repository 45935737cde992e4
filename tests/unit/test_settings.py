"""Settings: unknown means error, all errors at once, and every one is in the README."""

from dataclasses import fields
from pathlib import Path

import pytest

from modeldrop.errors import ConfigurationError
from modeldrop.settings import SERVING_VARIABLES, Settings, read_serving_settings, read_settings, variable

README = (Path(__file__).parents[2] / "README.md").read_text()
GCP = {"MODELDROP_BACKEND": "gcp", "MODELDROP_PROJECT": "p", "MODELDROP_BUCKET": "b", "MODELDROP_AUTH": "iam"}


@pytest.mark.parametrize("name", [variable(field.name) for field in fields(Settings)])
def test_the_readme_has_every_setting(name: str) -> None:
    assert f"`{name}`" in README


def test_a_whole_one_for_the_cloud() -> None:
    assert read_settings(GCP | {"MODELDROP_MAX_REPLICAS": "5"}).max_replicas == 5


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, ["MODELDROP_BACKEND"]),
        ({"MODELDROP_BACKEND": "azure"}, ["MODELDROP_BACKEND"]),
        ({"MODELDROP_BACKEND": "local"}, ["MODELDROP_DATA"]),
        ({"MODELDROP_BACKEND": "gcp"}, ["MODELDROP_AUTH", "MODELDROP_BUCKET", "MODELDROP_PROJECT"]),
        (GCP | {"MODELDROP_AUTH": "none"}, ["MODELDROP_AUTH"]),
        (GCP | {"MODELDROP_BUKET": "b"}, ["MODELDROP_BUKET is not a setting"]),
        (GCP | {"MODELDROP_MIN_REPLICAS": "one"}, ["MODELDROP_MIN_REPLICAS"]),
        (GCP | {"MODELDROP_DOCUMENTS": "mongo"}, ["MODELDROP_DOCUMENTS"]),
        (GCP | {"MODELDROP_DOCUMENTS": "sqlite"}, ["MODELDROP_DATA"]),
        (
            {"MODELDROP_BACKEND": "local", "MODELDROP_DATA": "d", "MODELDROP_DOCUMENTS": "firestore"},
            ["MODELDROP_PROJECT"],
        ),
    ],
)
def test_everything_wrong_is_named(environment: dict[str, str], named: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(environment)
    assert all(name in str(caught.value) for name in named)


def test_what_a_serving_container_is_told() -> None:
    environment = dict.fromkeys(SERVING_VARIABLES.values(), "x")
    assert read_serving_settings(environment).health_route == "x"
    with pytest.raises(ConfigurationError, match=r"AIP_STORAGE_URI.*MODELDROP_SERVED_DIGEST"):
        read_serving_settings({})
