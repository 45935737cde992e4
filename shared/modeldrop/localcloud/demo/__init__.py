"""``modeldrop demo``: the main job, played on a real embedded cloud with real flights, step by step.

Every step states what must hold and is checked from outside: by the API, by the answers of the endpoint, by the
files in the bucket, by what the training pipeline is sent. The first that does not hold ends the demo with 1.
"""

import json
import os
import tempfile
from pathlib import Path
from secrets import token_hex

import httpx

from modeldrop.errors import ConfigurationError
from modeldrop.localcloud.cloud import functions_folder
from modeldrop.localcloud.demo.pipeline import Pipeline
from modeldrop.localcloud.demo.retraining import Retraining
from modeldrop.localcloud.demo.rollouts import Rollouts
from modeldrop.localcloud.demo.stage import Stage, StepFailed, cloud, headline, keep, say

__all__ = ["StepFailed", "play"]

SIGNING = "MODELDROP_SECRET_DEMO"
POLICY = """\
rollout: {{strategy: canary, steps: [20, 50, 100], bake_seconds: 1, min_requests: 20}}
drift:   {{tests: {{numeric: ks}}}}
retrain: {{on: [data_drift], target: {{type: webhook, url: "{url}/train", secret: "env:{secret}"}}}}
notify:  [{{type: webhook, url: "{url}/news", secret: "env:{secret}", on: [rolled_back, drift, retraining]}}]
"""


def play() -> None:
    """The whole story. Raises StepFailed at the first step that does not hold."""
    examples = functions_folder().parent / "examples" / "flights"
    if not examples.is_dir():
        raise ConfigurationError("examples/flights was not found: run the demo in a checkout of modeldrop")
    rows = [json.loads(line) for line in (examples / "rows.jsonl").read_text().splitlines()]
    key = token_hex(16)
    with (
        tempfile.TemporaryDirectory(prefix="modeldrop-demo-") as folder,
        Pipeline(key) as pipeline,
        cloud(Path(folder), {SIGNING: key}) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        stage = Stage(client, Path(folder) / "bucket", examples)
        _write_policy(stage, pipeline)
        try:
            Rollouts(stage, rows).tell()
            Retraining(stage, pipeline, rows).tell()
        except httpx.HTTPError as error:
            raise StepFailed(f"modeldrop up does not answer: {error}") from error
        say("\nEvery step held.")
        if os.environ.get("KEEP") == "1":
            keep(url)


def _write_policy(stage: Stage, pipeline: Pipeline) -> None:
    headline("A policy: 20 %, 50 %, 100 %, one second each (yours would say minutes); who retrains, and who is told")
    policies = stage.bucket / "policies"
    policies.mkdir()
    (policies / "flights.yaml").write_text(POLICY.format(url=pipeline.url, secret=SIGNING))
    say("  policies/flights.yaml copied into the bucket")
