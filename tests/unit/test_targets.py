"""What a policy's targets and channels may be called: nothing that a request could carry elsewhere."""

import pytest

from modeldrop.errors import InvalidInput
from modeldrop.events.policy_file import read_policy

AIRFLOW = 'retrain: {{target: {{type: airflow, url: "https://a.example", dag: "{}"}}}}'
GITHUB = 'retrain: {{target: {{type: github, repository: "{}", token: "projects/p/secrets/s", ref: "{}"}}}}'
VERTEX = 'retrain: {{target: {{type: vertex_pipeline, template: "{}", root: "{}", service_account: "{}"}}}}'
WEBHOOK = 'notify: [{{type: webhook, url: "{}", secret: "{}", on: [drift]}}]'
MAIL = 'notify: [{{type: email, to: ["{}"], on: [drift]}}]'
TOPIC = 'notify: [{{type: pubsub, topic: "{}", on: [drift]}}]'
GOOD = {
    AIRFLOW: ("train..daily",),
    GITHUB: ("acme/models", "main"),
    VERTEX: ("gs://acme/retrain.json", "gs://acme/runs", "train@p.iam.gserviceaccount.com"),
    WEBHOOK: ("https://a.example/hook", "env:MODELDROP_SECRET_X"),
    MAIL: ("a@b.example",),
    TOPIC: ("news",),
}
CASES = [(text, number) for text, values in GOOD.items() for number in range(len(values))]


def test_these_are_in_order() -> None:
    for text, values in GOOD.items():
        read_policy(text.format(*values).encode())


@pytest.mark.parametrize("end", ["\\n", "\\r", "\\n\\n", " "])
@pytest.mark.parametrize(("text", "number"), CASES)
def test_no_value_ends_in_a_line_break(text: str, number: int, end: str) -> None:
    values = [f"{value}{end}" if n == number else value for n, value in enumerate(GOOD[text])]
    with pytest.raises(InvalidInput):
        read_policy(text.format(*values).encode())


@pytest.mark.parametrize("dag", [".", "..", "a/b", "a b", "%2e%2e", ""])
def test_a_dag_that_would_be_another_path(dag: str) -> None:
    with pytest.raises(InvalidInput):
        read_policy(AIRFLOW.format(dag).encode())


@pytest.mark.parametrize("repository", ["acme/..", "acme/.", "../models", "acme/models/x", "acme"])
def test_a_repository_that_would_be_another_path(repository: str) -> None:
    with pytest.raises(InvalidInput):
        read_policy(GITHUB.format(repository, "main").encode())
