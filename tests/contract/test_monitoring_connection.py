"""Cloud Monitoring that fails, hangs or is gone; addresses and credentials."""

# ruff: noqa: F401, F811 - a fixture is imported by its name, and asked for by it

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from modeldrop.adapters.gcp.monitoring_metrics import MonitoringMetrics, connect
from modeldrop.errors import ConfigurationError, Unavailable
from modeldrop.ports import VersionMetrics
from tests.contract.monitoring_system import (
    CODES,
    ENDPOINT,
    MonitoringSystem,
    measured,
    minute,
    monitoring_metrics,
    monitoring_server,
    monitoring_settings,
    monitoring_system,
    write,
)
from tests.servers.monitoring import Fault, MonitoringServer

FAULTS = [
    *(
        Fault("status", code)
        for code in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.PERMISSION_DENIED,
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.ABORTED,
        )
    ),
    Fault("garbage"),
    Fault("incomplete"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}-{fault.code.name}")
def test_a_failure_is_unavailable_once_and_not_retried(monitoring_system: MonitoringSystem, fault: Fault) -> None:
    server, source = monitoring_system.server, monitoring_system.source
    monitoring_system.answered(ENDPOINT, "v1", minute(1), count=5)
    for metric in range(3):
        server.inject(*[None] * metric, fault)
        asked = len(server.requests)
        with pytest.raises(Unavailable, match="Cloud Monitoring"):
            measured(source)
        assert len(server.requests) - asked == metric + 1
        assert measured(source).requests == 5


def test_a_server_that_hangs_is_left_at_the_deadline(monitoring_server: MonitoringServer) -> None:
    source = connect(monitoring_settings(monitoring_server.url), call_seconds=0.3)
    assert measured(source) == VersionMetrics()
    monitoring_server.inject(Fault("hang"))
    began = time.monotonic()
    with pytest.raises(Unavailable, match="504"):
        measured(source)
    assert 0.25 < time.monotonic() - began < 3
    assert monitoring_server.hanging.is_set()
    assert measured(source) == VersionMetrics()
    source.close()


def test_the_deadline_is_for_all_pages_of_a_metric_together(monitoring_server: MonitoringServer) -> None:
    source = connect(monitoring_settings(monitoring_server.url), call_seconds=1.0)
    for code in ("200", "404", "500"):
        write(monitoring_server, CODES, 1, 1, response_code=code)
    monitoring_server.state.page_points = 1
    monitoring_server.inject(Fault("slow", seconds=0.6), Fault("slow", seconds=0.6))
    with pytest.raises(Unavailable, match="504"):
        measured(source)
    assert measured(source) == VersionMetrics(3, 2)
    source.close()


def test_a_server_that_is_gone_is_unavailable_and_is_found_again(monitoring_metrics: MonitoringMetrics) -> None:
    with MonitoringServer() as gone:
        source = connect(monitoring_settings(gone.url))
        assert measured(source) == VersionMetrics()
    with pytest.raises(Unavailable):
        measured(source)
    source.close()
    assert measured(monitoring_metrics) == VersionMetrics()


# --- connecting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://monitoring.googleapis.com",
        "http://10.0.0.1:8080",
        "http://localhost.example.com",
        "ftp://127.0.0.1",
        "127.0.0.1:8080",
        "http://user:password@127.0.0.1",
        "http://127.0.0.1/path",
        "http://127.0.0.1?x=1",
        "http://127.0.0.1:99999",
        "http://[::1",
        "http://",
    ],
)
def test_an_address_that_would_leak_or_cannot_be_is_no_configuration(url: str) -> None:
    with pytest.raises(ConfigurationError, match="MODELDROP_MONITORING_URL"):
        connect(monitoring_settings(url))


def test_without_project_or_credentials_nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MODELDROP_PROJECT"):
        connect(replace(monitoring_settings("http://127.0.0.1:1"), project=None))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(ConfigurationError, match="credentials"):
        connect(replace(monitoring_settings(""), monitoring_url=None))


def test_https_goes_with_credentials_to_the_place_that_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, monitoring_server: MonitoringServer
) -> None:
    user = {"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "token"}
    (tmp_path / "user.json").write_text(json.dumps(user))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "user.json"))
    source = connect(monitoring_settings(monitoring_server.url.replace("http://", "https://")), call_seconds=5)
    with pytest.raises(Unavailable):  # no TLS is spoken there
        measured(source)
    assert monitoring_server.requests == []
    source.close()


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, monitoring_server: MonitoringServer
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    source = connect(monitoring_settings(monitoring_server.url))
    assert measured(source) == VersionMetrics()
    source.close()


def test_no_heavy_import_comes_with_the_adapter() -> None:
    program = """
import sys
from modeldrop.adapters.gcp.monitoring_metrics import connect
heavy = ("google.cloud.aiplatform", "google.cloud.aiplatform_v1", "numpy", "pandas")
print([name for name in heavy if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr
