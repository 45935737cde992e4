"""First part: versions come, take over step by step, are rejected with reasons, and are taken back."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

from modeldrop.localcloud.demo.stage import STEP_SECONDS, Stage, headline, hold, say, until
from modeldrop.localcloud.dropping import drop_package

ROWS_AT_ONCE = 20


class Rollouts:
    """The steps, each told and checked; ``rows`` are flights with their features."""

    def __init__(self, stage: Stage, rows: list[dict[str, Any]]) -> None:
        self._stage = stage
        self._rows: Iterator[dict[str, Any]] = cycle(rows)

    def tell(self) -> None:
        """Play them; raises StepFailed at the first that does not hold."""
        self._first_version()
        self._better_version()
        self._worse_version()
        self._broken_package()
        self._failing_version()

    def _first_version(self) -> None:
        headline("v1 is dropped: a delay model of New York flights, trained on January 2013")
        seconds = self._stage.drop_until("v1", "live")
        rule = self._stage.decision("v1")["rule"]
        say(f"  live after {seconds:.1f} s; there was nothing to compare it with: {rule}")
        answers, versions = self._ask()
        hold(set(versions) == {"v1"}, f"all {ROWS_AT_ONCE} answers come from v1", versions)
        late = sum(answer["decision"] for answer in answers)
        say(f"  asked about {ROWS_AT_ONCE} real flights, it expects {late} of them more than 15 minutes late")

    def _better_version(self) -> None:
        headline("v2 is dropped: it knows the minutes of departure delay, the carrier and the route")
        drop_package(self._stage.packages / "v2", self._stage.bucket)
        shares: list[int] = []
        asked: Counter[str] = Counter()
        deadline = time.monotonic() + STEP_SECONDS
        while self._stage.status("v2") != "live":
            hold(time.monotonic() < deadline, f"v2 is live within {STEP_SECONDS:g} s", self._stage.status("v2"))
            share = self._stage.model()["endpoint"]["traffic"].get("v2", 0)
            _, versions = self._ask()
            asked += versions
            if share not in shares[-1:]:
                shares.append(share)
                say(f"  v2 has {share:3d} % of traffic")
        hold({20, 50} <= set(shares), "v2 took over through 20 % and 50 %", shares)
        hold(asked["v1"] > 0 and asked["v2"] > 0, "both versions answered meanwhile", dict(asked))
        say(f"  live: {self._stage.why('v2')}")
        say(f"  while it took over, v1 answered {asked['v1']} flights and v2 {asked['v2']}; none was lost")

    def _worse_version(self) -> None:
        headline("v3 is dropped: a careless run, two days of data, the features that matter left out")
        self._stage.drop_until("v3", "rejected")
        say(f"  rejected: {self._stage.why('v3')}")
        rejection = self._stage.bucket / "models/flights/v3/rejection.json"
        until(rejection.exists, "rejection.json is beside it")
        record = json.loads(rejection.read_text())
        hold(record["rule"] == "no_improvement", "rejection.json beside it says why", record["rule"])
        _, versions = self._ask()
        hold(set(versions) == {"v2"}, "v2 goes on serving alone", versions)

    def _broken_package(self) -> None:
        headline("v4 is dropped: somebody edited its metadata by hand")
        folder = self._stage.bucket / "models/flights/v4"
        folder.mkdir()
        metadata = json.loads((self._stage.packages / "v2/metadata.json").read_text())
        metadata |= {
            "version": "4",
            "created_at": "yesterday",
            "metrics": {"f1": "good"},
            "parameters": {"intercept": 1},
        }
        (folder / "metadata.json").write_text(json.dumps(metadata))
        self._stage.wait("v4", "rejected")
        reasons = self._stage.decision("v4")["reasons"]
        for reason in reasons:
            say(f"  rejected: {reason}")
        hold(len(reasons) == 4, "all four mistakes are named at once", reasons)

    def _failing_version(self) -> None:
        headline("v5 is dropped: fine in training, but it needs a feature that live flights do not have")
        content = self._failing_metadata()
        self._stage.put("v5", content)
        counts: Counter[str] = Counter()
        deadline = time.monotonic() + STEP_SECONDS
        while self._stage.status("v5") != "rolled_back":
            hold(time.monotonic() < deadline, f"v5 is rolled back within {STEP_SECONDS:g} s", self._stage.status("v5"))
            counts += self._count_failures()
        say(f"  while it was a canary, {counts['v5 failed']} of its {counts['v5']} answers failed, none of v2's")
        hold(counts["v5"] == counts["v5 failed"] > 0, "every answer of v5 failed", dict(counts))
        hold(counts["v2 failed"] == 0, "v2 answered all the while", dict(counts))
        why = self._stage.get("/v1/models/flights/versions/v5")["fallen"]
        say(f"  rolled back by itself: {why}")
        hold(self._stage.model()["endpoint"]["traffic"] == {"v2": 100}, "v2 has all traffic again", self._stage.model())
        _, versions = self._ask()
        hold(set(versions) == {"v2"}, "v2 answers alone", versions)
        self._stage.put("v6", content)
        self._stage.wait("v6", "rejected")
        say(f"  the same bytes come again as v6: {self._stage.why('v6')}")

    def _failing_metadata(self) -> bytes:
        metadata = json.loads((self._stage.packages / "v2/metadata.json").read_text())
        del metadata["model"], metadata["version"]  # the folder names it
        metadata["created_at"] = "2026-02-01T09:00:00Z"
        metadata["metrics"] = {name: min(1.0, value + 0.05) for name, value in metadata["metrics"].items()}
        metadata["features"]["wind_gust"] = {"type": "numeric"}
        metadata["parameters"]["coefficients"]["wind_gust"] = 0.02
        return json.dumps(metadata).encode()

    def _count_failures(self) -> Counter[str]:
        """Ask about some flights; answers by version, and how many of them failed."""
        counts: Counter[str] = Counter()
        for flight in self._flights():
            (prediction,), version = self._stage.ask([flight])
            counts[version] += 1
            counts[f"{version} failed"] += "error" in prediction
        return counts

    def _ask(self) -> tuple[list[dict[str, Any]], Counter[str]]:
        return self._stage.ask_singly(self._flights())

    def _flights(self) -> list[dict[str, Any]]:
        return [row["features"] for row in islice(self._rows, ROWS_AT_ONCE)]
