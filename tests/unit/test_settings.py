"""Settings: unknown means error, all errors at once, and every one is in the README."""

from dataclasses import fields
from pathlib import Path

import pytest

from modeldrop.errors import ConfigurationError
from modeldrop.settings import SERVING_VARIABLES, Settings, read_serving_settings, read_settings, variable

README = (Path(__file__).parents[2] / "README.md").read_text()
GCP = {"MODELDROP_BACKEND": "gcp", "MODELDROP_PROJECT": "p", "MODELDROP_BUCKET": "b", "MODELDROP_AUTH": "iam"}
JWT = GCP | {
    "MODELDROP_AUTH": "jwt",
    "MODELDROP_JWT_ISSUER": "https://issuer.example.com",
    "MODELDROP_JWT_AUDIENCE": "/projects/1/global/backendServices/2",
    "MODELDROP_JWT_JWKS": "https://issuer.example.com/keys",
}
FROM = "drop@example.com"


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
        (GCP | {"MODELDROP_SMTP_URL": "smtp://mail.example.com"}, ["MODELDROP_MAIL_FROM"]),
        (GCP | {"MODELDROP_SMTP_URL": "mail.example.com:25", "MODELDROP_MAIL_FROM": FROM}, ["MODELDROP_SMTP_URL"]),
        (GCP | {"MODELDROP_SMTP_URL": "smtp://u:p@mail", "MODELDROP_MAIL_FROM": FROM}, ["MODELDROP_SMTP_URL"]),
        (GCP | {"MODELDROP_MAIL_FROM": "Drop <drop@example.com>"}, ["MODELDROP_MAIL_FROM"]),
        (GCP | {"MODELDROP_MAIL_FROM": "a@b.example, c@d.example"}, ["MODELDROP_MAIL_FROM"]),
        (GCP | {"MODELDROP_SMTP_USER": "drop"}, ["MODELDROP_SMTP_PASSWORD"]),
        (GCP | {"MODELDROP_API_URL": "http://drop.example.com"}, ["MODELDROP_API_URL"]),
        (GCP | {"MODELDROP_HEALTH_TICK_SECONDS": "0"}, ["MODELDROP_HEALTH_TICK_SECONDS"]),
        (GCP | {"MODELDROP_OUTBOX_TICK_SECONDS": "nan"}, ["MODELDROP_OUTBOX_TICK_SECONDS"]),
        (GCP | {"MODELDROP_RETRAIN_TICK_SECONDS": "-1"}, ["MODELDROP_RETRAIN_TICK_SECONDS"]),
        (
            GCP | {"MODELDROP_AUTH": "jwt"},
            ["MODELDROP_JWT_ISSUER", "MODELDROP_JWT_AUDIENCE", "MODELDROP_JWT_JWKS is required"],
        ),
        (JWT | {"MODELDROP_AUTH": "iam"}, ["MODELDROP_JWT_ISSUER is for MODELDROP_AUTH=jwt alone"]),
        (GCP | {"MODELDROP_JWT_HEADER": "X-Token"}, ["MODELDROP_JWT_HEADER is for MODELDROP_AUTH=jwt alone"]),
        (JWT | {"MODELDROP_JWT_JWKS": "http://issuer.example.com/keys"}, ["MODELDROP_JWT_JWKS"]),
        (JWT | {"MODELDROP_JWT_JWKS": "http://localhost.example.com/keys"}, ["MODELDROP_JWT_JWKS"]),
        (JWT | {"MODELDROP_JWT_AUDIENCE": "two words"}, ["MODELDROP_JWT_AUDIENCE"]),
        (JWT | {"MODELDROP_JWT_ALGORITHMS": "HS256"}, ["MODELDROP_JWT_ALGORITHMS"]),
        (JWT | {"MODELDROP_JWT_ALGORITHMS": "RS256,none"}, ["MODELDROP_JWT_ALGORITHMS"]),
        (JWT | {"MODELDROP_JWT_ALGORITHMS": ","}, ["MODELDROP_JWT_ALGORITHMS"]),
        (JWT | {"MODELDROP_JWT_HEADER": "X Token"}, ["MODELDROP_JWT_HEADER"]),
        (GCP | {"MODELDROP_OPERATORS": "ada@example.com bob@example.com"}, ["MODELDROP_OPERATORS"]),
        (GCP | {"MODELDROP_APPROVERS": "ada@ex@ample.com"}, ["MODELDROP_APPROVERS"]),
        (GCP | {"MODELDROP_VIEWERS": "*@example.com"}, ["MODELDROP_VIEWERS"]),
    ],
)
def test_everything_wrong_is_named(environment: dict[str, str], named: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(environment)
    assert all(name in str(caught.value) for name in named)


def test_those_that_say_who_calls() -> None:
    named = {
        "MODELDROP_JWT_ALGORITHMS": "ES256, EdDSA",
        "MODELDROP_JWT_HEADER": "X-Goog-IAP-JWT-Assertion",
        "MODELDROP_VIEWERS": "*",
        "MODELDROP_OPERATORS": "ada@example.com, @example.org,",
        "MODELDROP_APPROVERS": "104857600",
    }
    settings = read_settings(JWT | named)
    assert (settings.auth, settings.jwt_algorithms, settings.viewers) == ("jwt", "ES256, EdDSA", "*")
    plain = {"MODELDROP_JWT_JWKS": "http://127.0.0.1:8080/keys"}
    assert read_settings(JWT | plain).jwt_header == "Authorization"


def test_those_that_tell_people() -> None:
    told = {
        "MODELDROP_SMTP_URL": "smtps://mail.example.com:465",
        "MODELDROP_SMTP_USER": "drop",
        "MODELDROP_SMTP_PASSWORD": "projects/p/secrets/smtp/versions/3",
        "MODELDROP_MAIL_FROM": FROM,
        "MODELDROP_SLACK_WEBHOOK": "env:MODELDROP_SECRET_SLACK",
        "MODELDROP_API_URL": "https://drop.example.com/api",
        "MODELDROP_OUTBOX_TICK_SECONDS": "0.5",
    }
    settings = read_settings(GCP | told)
    assert (settings.smtp_url, settings.outbox_tick_seconds) == ("smtps://mail.example.com:465", 0.5)


def test_secrets_may_stand_beside_settings() -> None:
    assert read_settings(GCP | {"MODELDROP_SECRET_SLACK": "https://hooks.example.com/x"}).project == "p"


@pytest.mark.parametrize("name", ["MODELDROP_SMTP_PASSWORD", "MODELDROP_SLACK_WEBHOOK"])
def test_a_secret_itself_is_no_setting_and_is_not_repeated(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        read_settings(
            GCP
            | {"MODELDROP_SMTP_USER": "drop", "MODELDROP_SMTP_PASSWORD": "env:MODELDROP_SECRET_P"}
            | {name: "hunter2"}
        )
    assert "hunter2" not in str(caught.value)


def test_what_a_serving_container_is_told() -> None:
    environment = dict.fromkeys(SERVING_VARIABLES.values(), "x")
    assert read_serving_settings(environment).health_route == "x"
    with pytest.raises(ConfigurationError, match=r"AIP_STORAGE_URI.*MODELDROP_SERVED_DIGEST"):
        read_serving_settings({})
