"""References that packages bring, friendly and hostile: read as they are meant, or refused with a reason."""

import base64
import hashlib
import importlib.util
import json
import random
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modeldrop.domain import integrity
from modeldrop.domain.drift.reference_profile import profile_reference
from modeldrop.domain.drift.report import drift_report
from modeldrop.domain.integrity import FileDigest, Manifest
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.sampling.kept_values import KeepRule, kept_feature
from modeldrop.errors import InvalidInput
from modeldrop.events.manifest import write_manifest
from modeldrop.handlers.reports.parquet_rows import json_lines_of_parquet
from modeldrop.handlers.reports.reference_rows import MOST_PROBLEMS, Limits, read_rows
from modeldrop.handlers.reports.report_drift import report_latest_windows
from modeldrop.records.reports import Reports
from tests.handlers.control import MODEL, Control
from tests.handlers.prediction_log import NOW, register
from tests.handlers.reporting import HOUR, bring_reference, events, reference_csv, report, take

DECLARED = KeepRule({"amount": "numeric", "country": "categorical"})
HEADER = b"amount,country\n"


def columns(name: str, data: bytes, rule: KeepRule = DECLARED) -> dict[str, tuple[str, list[Any]]]:
    """Types and values by column."""
    found = read_rows(name, data, rule).observations
    there = [*found.features, *([found.prediction] if found.prediction else [])]
    return {column.name: (column.type, list(column.values)) for column in there}


def test_csv() -> None:
    data = b'\xef\xbb\xbf,amount,country,prediction,label,x\r\n0,5,"a, b",0.25,true,z\r\n1,,,0.5,false,z\r\n'
    assert columns("reference.csv", data) == {
        "amount": ("numeric", [5, None]),
        "country": ("categorical", ["a, b", None]),
        "prediction": ("numeric", [0.25, 0.5]),
    }


def test_json_lines() -> None:
    rows = [{"amount": 1.5, "prediction": {"score": 0.75, "decision": True}}, {"country": 7}, {"amount": None}]
    data = "\n\n".join(map(json.dumps, rows)).encode()
    assert columns("reference.jsonl", data) == {
        "amount": ("numeric", [1.5, None, None]),
        "country": ("categorical", [None, 7, None]),
        "prediction": ("numeric", [0.75, None, None]),
    }


def test_types_that_nobody_declared() -> None:
    data = b"a,b,c,d\n1,true,x,\n2e3,False,,\n"
    found = columns("reference.csv", data, KeepRule())
    assert {name: type_ for name, (type_, _) in found.items()} == {
        "a": "numeric",
        "b": "boolean",
        "c": "categorical",
        "d": "categorical",
    }
    typed = columns("reference.jsonl", b'{"a": true, "b": "' + b"long " * 20 + b'", "c": "x"}', KeepRule())
    assert {name: type_ for name, (type_, _) in typed.items()} == {"a": "boolean", "b": "text", "c": "categorical"}
    assert typed["b"][1] == [[100, 20, 0.0, 0.0]]


def test_na_is_missing_among_numbers_and_booleans_and_a_country_among_categories() -> None:
    data = b"a,b,c\n1,true,NA\nNA,NA,DE\n2,false,FR\n"
    for rule in (KeepRule(), KeepRule({"a": "numeric", "b": "boolean", "c": "categorical"})):
        assert columns("reference.csv", data, rule) == {
            "a": ("numeric", [1, None, 2]),
            "b": ("boolean", [True, None, False]),
            "c": ("categorical", ["NA", "DE", "FR"]),
        }


@pytest.mark.parametrize("number", ["1234567890123456789", "9223372036854775807", "-9223372036854775808", "18", "1e3"])
def test_a_number_has_the_same_hash_in_a_file_and_in_an_event(number: str) -> None:
    rule = KeepRule({"account": "numeric"}, {"account": "hash"}, b"a key of sixteen bytes or more")
    ((_, found),) = columns("reference.csv", f"account\n{number}\n".encode(), rule).values()
    assert found == [kept_feature("account", json.loads(number), rule)]


def test_where_all_features_are_redacted_others_are_not_taken_in_their_place() -> None:
    rule = KeepRule({"amount": "numeric"}, {"amount": "drop"})
    assert set(columns("reference.csv", b"amount,customer,prediction\n1,2,0.5\n", rule)) == {"prediction"}
    with pytest.raises(InvalidInput, match="no predictions"):
        read_rows("reference.csv", b"amount,customer\n1,2\n", rule)


def test_of_many_rows_a_sample_the_same_each_time() -> None:
    """Equal rows are sampled apart, wherever they stand: 30 % of a sorted file are about 30 % of the sample."""
    data = HEADER + b"1,x\n" * 18_000 + b"0,x\n" * 42_000
    whole = read_rows("reference.csv", data, DECLARED)
    found = read_rows("reference.csv", data, DECLARED, Limits(rows=5_000))
    values = list(found.observations.features[0].values)
    assert (found.file_rows, len(values)) == (60_000, 5_000)
    assert 0.27 < sum(values) / 5_000 < 0.33  # type: ignore[arg-type]
    assert read_rows("reference.csv", data, DECLARED, Limits(rows=5_000)).observations == found.observations
    assert drift_report(profile_reference(whole.observations), found.observations, DriftPolicy()).verdict == "ok"


def test_fewer_rows_of_a_wide_file() -> None:
    found = read_rows("reference.csv", HEADER + b"1,x\n" * 2_000, DECLARED, Limits(values=3_000))
    assert len(found.observations.features[0].values) == 1_000


HOSTILE = {
    "nothing": ("csv", b"", "is empty"),
    "header alone": ("csv", HEADER, "has no rows"),
    "no line": ("jsonl", b"\n \n", "has no rows"),
    "NaN": ("csv", HEADER + b"NaN,x\n", "'NaN' is not a number"),
    "infinity": ("csv", HEADER + b"1e999,x\n", "is not a finite number"),
    "text for a number": ("csv", HEADER + b"5,x\nfive,x\n", "amount, row 2 of those read: 'five' is not a number"),
    "JSON's NaN": ("jsonl", b'{"amount": NaN}', "row 1"),
    "a number beyond all": ("jsonl", b'{"amount": 1e999}', "row 1"),
    "text in JSON": ("jsonl", b'{"amount": "5"}', "str is not a number"),
    "a list": ("jsonl", b'{"amount": 5, "country": ["DE"]}', "list is not a category"),
    "an array": ("jsonl", b'[{"amount": 5}]', "row 1: is not a JSON object"),
    "a bomb of brackets": ("jsonl", b"[" * 100_000, "row 1: nested"),
    "a key twice": ("jsonl", b'{"amount": 5, "amount": 6}', "twice"),
    "half a surrogate pair": ("jsonl", b'{"amount": 5, "country": "\\ud800"}', "row 1"),
    "100,000 columns": ("csv", ",".join(f"c{n}" for n in range(100_000)).encode() + b"\n1\n", "100,000 columns"),
    "100,000 keys": ("jsonl", json.dumps({f"c{n}": n for n in range(50_000)}).encode(), "50,000 values"),
    "one huge line": ("csv", b"a" * (2 << 20), "has a line of more than"),
    "one huge JSON line": ("jsonl", b'{"amount": ' + b"1" * (2 << 20), "has a line of more than"),
    "one huge cell": ("csv", HEADER + b'1,"' + b"x\n" * 300_000, "is not CSV"),
    "binary": ("csv", random.Random(1).randbytes(100_000), "UTF-8"),
    "compressed": ("csv", zlib.compress(HEADER + b"1,x\n" * 99), "UTF-8"),
    "NULs": ("jsonl", bytes(1_000), "row 1"),
    "cells missing": ("csv", HEADER + b"1\n", "row 1: 1 cells, and the header has 2"),
    "a column twice": ("csv", b"amount,amount\n1,2\n", "amount: is there twice in the header"),
    "other columns": ("csv", b"a,b\n1,2\n", "none of the features the metadata declare"),
    "no Parquet": ("parquet", b"PAR1" + bytes(100) + b"PAR1", "parquet"),
}


@pytest.mark.parametrize(("ending", "data", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_read_is_refused(ending: str, data: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_rows(f"reference.{ending}", data, DECLARED)
    assert reason.lower() in str(refused.value).lower()
    assert len(str(refused.value)) < 5_000


def test_problems_are_named_up_to_a_number() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_rows("reference.csv", HEADER + b"x,x\ny,y\n" * 10_000, DECLARED)
    assert len(refused.value.problems) == MOST_PROBLEMS


def test_too_many_rows() -> None:
    few = Limits(file_rows=1_000)
    assert read_rows("reference.csv", HEADER + b"1,x\n" * 1_000, DECLARED, few).file_rows == 1_000
    with pytest.raises(InvalidInput, match="more than 1,000 rows"):
        read_rows("reference.csv", HEADER + b"1,x\n" * 1_001, DECLARED, few)


def test_too_many_features() -> None:
    rows = "\n".join(json.dumps({f"x{n}{i}": 1 for i in range(100)}) for n in range(20)).encode()
    with pytest.raises(InvalidInput, match="1,000 features"):
        read_rows("reference.jsonl", rows, KeepRule())


def test_parquet_is_read_where_pyarrow_is() -> None:
    """An extra: without it the reason says how to get it."""
    if importlib.util.find_spec("pyarrow") is None:
        with pytest.raises(InvalidInput, match=r"modeldrop\[parquet\]"):
            read_rows("reference.parquet", b"PAR1", DECLARED)
        return
    import pyarrow
    from pyarrow import parquet

    def written(table: dict[str, list[Any]]) -> bytes:
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(pyarrow.table(table), sink, compression="zstd")
        content: bytes = sink.getvalue().to_pybytes()
        return content

    odd = [b"", b"", b""]
    data = written({"amount": [1.5, None, 3.0], "country": ["DE", None, "FR"], "prediction": [1, 2, 3], "x": odd})
    assert columns("reference.parquet", data) == {
        "amount": ("numeric", [1.5, None, 3.0]),
        "country": ("categorical", ["DE", None, "FR"]),
        "prediction": ("numeric", [1, 2, 3]),
    }
    with pytest.raises(InvalidInput, match="row 1, x: a bytes is no feature value"):
        read_rows("reference.parquet", data, KeepRule())
    with pytest.raises(InvalidInput, match="row 2, amount: nan"):
        read_rows("reference.parquet", written({"amount": [1.0, float("nan")], "country": ["DE", "DE"]}), DECLARED)
    bomb = written({"amount": [1.0] * 3_000, "country": ["x" * 1_000_000] * 3_000})  # 3 GB in a few kilobytes
    assert len(bomb) < 1_000_000
    with pytest.raises(InvalidInput, match=r"Parquet|MiB"):
        read_rows("reference.parquet", bomb, DECLARED)


def test_the_reader_of_parquet_may_not_take_forever() -> None:
    with pytest.raises(InvalidInput, match="within"):
        json_lines_of_parquet(b"PAR1", [], seconds=0.001)


# --- in reports --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["NaN", "100,000 columns", "binary", "no Parquet", "one huge cell"])
def test_a_report_says_what_is_wrong_and_the_tick_goes_on(control: Control, name: str) -> None:
    ending, data, reason = HOSTILE[name]
    control.clock.now = NOW
    features = {"amount": {"type": "numeric"}, "country": {"type": "categorical"}}
    control.drop("v1", 0.5, 1, features=features)
    bring_reference(control, data, f"reference.{ending}")
    control.tell_version("v1")
    control.settle()
    control.clock.now = NOW + 3 * HOUR
    take(control.services, events(0, 300))
    (made,) = report_latest_windows(control.services, control.head, 2)
    assert (made.verdict, made.reference.kind, made.rows) == ("insufficient_data", "package", 300)
    assert made.reference.file == f"models/{MODEL}/v1/reference.{ending}"
    assert reason.lower() in str(made.reference.problems[0]).lower()
    stored = Reports(control.services.documents).drift(MODEL, "v1", made.window)
    assert stored is not None and stored.value == made


def test_a_file_too_large_is_not_downloaded(control: Control) -> None:
    control.clock.now = NOW
    register(control, "v1")
    take(control.services, events(0, 300))
    path = control.data / "bucket/models" / MODEL / "v1/reference.csv"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    assert [str(problem) for problem in report(control, 0).reference.problems] == ["$: has more than 64 MiB"]


def manifest(control: Control, *names: str, key: bytes | None = None) -> None:
    """List these files of v1, with ``key`` over a signature."""
    folder = control.data / "bucket/models" / MODEL / "v1"
    contents = {name: (folder / name).read_bytes() for name in names}
    listed = {name: FileDigest(hashlib.sha256(data).hexdigest(), len(data)) for name, data in contents.items()}
    signature = integrity.sign(listed, "2026", key) if key else None
    control.put(f"models/{MODEL}/v1/manifest.json", write_manifest(Manifest(listed, signature)))


def test_the_verified_copy_counts(control: Control) -> None:
    """What was checked with the package, not what stands in its folder now."""
    control.clock.now = NOW
    control.drop("v1", 0.5, 1)
    bring_reference(control, reference_csv(events(-1, 400)))
    manifest(control, "metadata.json", "reference.csv")
    control.tell_version("v1")
    assert control.version("v1").content_digest
    bring_reference(control, reference_csv(events(-1, 400, moved=5.0)))
    control.clock.now = NOW + HOUR
    take(control.services, events(0, 300))
    made = report(control, 0)
    assert (made.reference.file or "").startswith(f"verified/{MODEL}/")
    assert (made.verdict, Path(made.reference.file or "").name) == ("ok", "reference.csv")


def test_what_is_put_beside_a_signed_package_counts_for_nothing(control: Control) -> None:
    key = b"a key of thirty-two bytes, or so"
    keys = control.data / "keys.json"
    keys.write_text(json.dumps({"2026": base64.b64encode(key).decode()}))
    control.settings = replace(control.settings, signing_keys=keys)
    control.services = control.another_instance()
    control.clock.now = NOW
    control.drop("v1", 0.5, 1)
    manifest(control, "metadata.json", key=key)
    control.tell_version("v1")
    assert control.version("v1").signed_by == "2026"
    bring_reference(control, reference_csv(events(-1, 400)))
    take(control.services, events(0, 300))
    assert report(control, 0).reference.kind == "none"


def test_only_files_of_exactly_these_names(control: Control) -> None:
    control.clock.now = NOW
    register(control, "v1")
    for name in ("reference.csv.bak", "reference.d/reference.csv", "old/reference.csv"):
        bring_reference(control, reference_csv(events(-1, 400)), name)
    take(control.services, events(0, 300))
    assert report(control, 0).reference.kind == "none"
