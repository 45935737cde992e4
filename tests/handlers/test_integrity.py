"""Packages somebody tampers with: never deployed, and every reason said. Archives and the command line as well."""

import base64
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.domain import integrity
from modeldrop.domain.integrity import FileDigest, Manifest
from modeldrop.domain.packages import PackageLocation, locate
from modeldrop.domain.versions import Status
from modeldrop.errors import ConfigurationError, Conflict, InvalidInput, Refused
from modeldrop.events.manifest import MANIFEST_LIMIT_BYTES, write_manifest
from modeldrop.handlers.packages.read_package import Package, keep_verified, read_package, served_version
from modeldrop.localcloud.packaging import pack, sign_folder, verify
from modeldrop.ports import Bucket
from tests.handlers.control import FAST, MODEL, Control, metadata

KEYS = {"2025": b"o" * 32, "2026": b"k" * 32}
WEIGHTS = b"weights" * 1000


def onnx(version: str = "v1", **changes: Any) -> dict[str, bytes]:
    """Files of a package with artifacts."""
    content = metadata(version, 0.7, 1, runtime="onnx", **changes)
    return {"metadata.json": json.dumps(content).encode(), "model.onnx": WEIGHTS, "vocabulary/words.txt": b"a b c"}


def manifest_of(files: dict[str, bytes], key_id: str | None = None) -> bytes:
    listed = {path: FileDigest(hashlib.sha256(data).hexdigest(), len(data)) for path, data in files.items()}
    return write_manifest(Manifest(listed, integrity.sign(listed, key_id, KEYS[key_id]) if key_id else None))


class Desk:
    """A bucket to put packages into, read as the handlers do."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "bucket"
        self.bucket: Bucket = FolderBucket(self.root)
        self.keys: Path | None = folder / "keys.json"
        self.set_keys(KEYS)
        self.later = timedelta(0)

    def set_keys(self, keys: dict[str, bytes]) -> None:
        assert self.keys is not None
        self.keys.write_text(json.dumps({name: base64.b64encode(key).decode() for name, key in keys.items()}))

    def put(self, files: dict[str, bytes], folder: str = f"models/{MODEL}/v1/") -> None:
        for path, data in files.items():
            (self.root / folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / folder / path).write_bytes(data)

    def read(self, name: str = f"models/{MODEL}/v1/metadata.json") -> Package:
        location = locate(name, MODEL)
        assert isinstance(location, PackageLocation)
        package = read_package(self.bucket, location, datetime.now(UTC) + self.later, 900, keys=self.keys)
        assert package is not None
        return package

    def problems(self) -> list[str]:
        return [str(problem) for problem in self.read().version.problems]

    def verified(self, package: Package) -> dict[str, bytes]:
        """The files the model server is sent to."""
        uri = served_version(self.bucket, package.version).artifact_uri
        assert uri.startswith(f"{self.bucket.uri}/verified/{MODEL}/")
        folder = self.root / uri.removeprefix(f"{self.bucket.uri}/")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# --- right ones ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_id", [None, "2025", "2026"])
def test_what_was_verified_is_what_is_deployed(desk: Desk, key_id: str | None) -> None:
    files = onnx()
    files["manifest.json"] = manifest_of(files, key_id)
    desk.put(files)
    package = desk.read()
    assert package.version.problems == []
    assert package.version.signed_by == key_id
    keep_verified(desk.bucket, package)
    desk.put({"model.onnx": b"swapped", "metadata.json": b"{}", "more": b""})
    assert desk.verified(package) == files
    assert served_version(desk.bucket, package.version).digest == hashlib.sha256(files["metadata.json"]).hexdigest()
    again = Meddling(desk.bucket, "", lambda: None)
    keep_verified(again, package)  # type: ignore[arg-type]
    assert again.calls == ["stat"], "it is all there, and nothing is hashed or copied again"


def test_without_a_manifest_the_artifacts_of_the_runtime_are_pinned(desk: Desk) -> None:
    files = onnx(artifact_uri="./weights/")
    files["weights/model.onnx"] = files.pop("model.onnx")
    desk.put(files)
    package = desk.read()
    keep_verified(desk.bucket, package)
    kept = desk.verified(package)
    assert kept.keys() == {"metadata.json", "weights/model.onnx", "manifest.json"}
    assert kept["weights/model.onnx"] == WEIGHTS


def test_the_same_metadata_with_other_artifacts_is_other_content(desk: Desk) -> None:
    desk.put(onnx())
    first = desk.read()
    keep_verified(desk.bucket, first)
    desk.put({"model.onnx": b"other"})
    second = desk.read()
    keep_verified(desk.bucket, second)
    assert first.version.digest == second.version.digest
    assert first.version.content_digest != second.version.content_digest
    assert (desk.verified(first)["model.onnx"], desk.verified(second)["model.onnx"]) == (WEIGHTS, b"other")


def test_a_scorecard_needs_no_copy_but_of_its_metadata(desk: Desk) -> None:
    content = json.dumps(metadata("v1", 0.7, 1)).encode()
    desk.put({"metadata.json": content, "reference.csv": b"a"})
    package = desk.read()
    keep_verified(desk.bucket, package)
    assert package.version.content_digest == ""
    assert desk.verified(package) == {"metadata.json": content}


def test_the_folder_a_container_names_is_pinned(desk: Desk) -> None:
    image = f"registry/image@sha256:{'a' * 64}"
    content = metadata("v1", 0.7, 1, runtime="container", image=image, artifact_uri="weights")
    desk.put({"metadata.json": json.dumps(content).encode()})
    assert desk.read().version.waiting_for == [f"models/{MODEL}/v1/weights"]
    desk.put({"weights/a": b"1", "weights/b/c": b"2", "other": b"3"})
    package = desk.read()
    keep_verified(desk.bucket, package)
    assert desk.verified(package).keys() == {"metadata.json", "manifest.json", "weights/a", "weights/b/c"}


@pytest.mark.parametrize("uri", ["gs://elsewhere/weights", "../v0/weights", "https://host/weights", "a//b", "/etc"])
def test_artifacts_outside_the_package_are_refused(desk: Desk, uri: str) -> None:
    desk.put(onnx(artifact_uri=uri))
    assert any(problem.startswith("artifact_uri: ") for problem in desk.problems())
    files = onnx(artifact_uri=uri)
    desk.put({"manifest.json": manifest_of(files)})
    assert any(problem.startswith("artifact_uri: ") for problem in desk.problems())


def test_our_own_records_and_a_flat_package_are_no_trouble(desk: Desk) -> None:
    folder = "models/20260110T120000Z_3f9c2d1/"
    content = {"selected_model": "gemini-2.5-pro", "performance_score": 0.9}
    files = {"best_model_metadata.json": json.dumps(content).encode(), "notes.txt": b"hello"}
    desk.put(files | {"manifest.json": manifest_of(files), "rejection.json": b"{}"}, folder)
    package = desk.read(f"{folder}best_model_metadata.json")
    assert package.version.problems == []
    keep_verified(desk.bucket, package)
    kept = desk.verified(package)
    assert kept["metadata.json"] == kept["best_model_metadata.json"] == files["best_model_metadata.json"]


# --- hostile ones ----------------------------------------------------------------------------------------------


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("path", sorted(onnx()))
@pytest.mark.parametrize("how", ["first byte", "last byte", "cut", "longer", "empty"])
@pytest.mark.parametrize("key_id", [None, "2026"])
def test_every_change_of_every_file_is_noticed(desk: Desk, path: str, how: str, key_id: str | None) -> None:
    files = onnx() | {"validation_report.json": b'{"passed": true}'}
    manifest = manifest_of(files, key_id)
    data = files[path]
    changed = {
        "first byte": flip(data, 0),
        "last byte": flip(data, len(data) - 1),
        "cut": data[:-1],
        "longer": data + b" ",
        "empty": b"",
    }
    desk.put(files | {path: changed[how], "manifest.json": manifest})
    package = desk.read()
    assert any(problem.field == f"manifest.files.{path}" for problem in package.version.problems)
    assert (package.version.content_digest, package.version.signed_by) == ("", None)
    assert not package.version.is_candidate


def test_a_swap_of_two_files_of_one_size_is_noticed(desk: Desk) -> None:
    files = onnx() | {"a.bin": b"aaaa", "b.bin": b"bbbb"}
    desk.put(files | {"manifest.json": manifest_of(files, "2026"), "a.bin": b"bbbb", "b.bin": b"aaaa"})
    assert [problem.split(": ")[0] for problem in desk.problems()] == ["manifest.files.a.bin", "manifest.files.b.bin"]


def test_a_validation_report_that_is_slipped_in_or_changed_is_noticed(desk: Desk) -> None:
    files = onnx()
    desk.put(files | {"manifest.json": manifest_of(files), "validation_report.json": b'{"passed": true}'})
    assert desk.problems() == ["manifest.files.validation_report.json: is in the package and not listed"]
    listed = files | {"validation_report.json": b'{"passed": null}'}
    desk.put({"manifest.json": manifest_of(listed)})
    assert [problem.split(": ")[0] for problem in desk.problems()] == ["manifest.files.validation_report.json"]


def test_everything_wrong_is_said_at_once(desk: Desk) -> None:
    files = onnx() | {"gone.bin": b"x"}
    manifest = json.loads(manifest_of(files))
    manifest["files"]["../up"] = manifest["files"]["gone.bin"]
    manifest["files"]["MODEL.onnx"] = manifest["files"]["gone.bin"]
    del manifest["files"]["metadata.json"], files["gone.bin"]
    desk.put(files | {"model.onnx": flip(WEIGHTS, 9), "extra": b"", "manifest.json": json.dumps(manifest).encode()})
    desk.later = timedelta(hours=1)
    said = "\n".join(desk.problems())
    for expected in ("../up: ", "MODEL.onnx: is the same file", "files.metadata.json: is not listed", "files.extra: "):
        assert expected in said
    for expected in ("files.model.onnx: has SHA-256", f"models/{MODEL}/v1/gone.bin: is not there after 900 s"):
        assert expected in said


def test_a_listed_file_that_is_missing_is_waited_for(desk: Desk) -> None:
    files = onnx()
    desk.put({"manifest.json": manifest_of(files, "2026"), "metadata.json": files["metadata.json"]})
    version = desk.read().version
    assert version.waiting_for == [f"models/{MODEL}/v1/model.onnx", f"models/{MODEL}/v1/vocabulary/words.txt"]
    assert (version.problems, version.signed_by, version.content_digest) == ([], None, "")
    desk.put(files)
    version = desk.read().version
    assert (version.waiting_for, version.signed_by) == ([], "2026")


def test_links_in_the_package_are_not_followed(desk: Desk, tmp_path: Path) -> None:
    files = onnx()
    desk.put(files | {"manifest.json": manifest_of(files)})
    (tmp_path / "outside").write_bytes(WEIGHTS)
    model = desk.root / f"models/{MODEL}/v1/model.onnx"
    model.unlink()
    model.symlink_to(tmp_path / "outside")
    assert desk.read().version.waiting_for == [f"models/{MODEL}/v1/model.onnx"]


@pytest.mark.parametrize(
    "manifest",
    [
        b" " * (MANIFEST_LIMIT_BYTES + 1),
        b'{"files": ' + b"[" * 500_000,
        b'{"files": {"model.onnx": {}, "model.onnx": {}}}',
        json.dumps({"files": {f"{n}": {"sha256": "0" * 64, "size": 0} for n in range(1001)}}).encode(),
    ],
    ids=["large", "nested", "duplicate", "many"],
)
def test_a_manifest_that_is_a_bomb_is_one_problem(desk: Desk, manifest: bytes) -> None:
    desk.put(onnx() | {"manifest.json": manifest})
    (problem,) = desk.read().version.problems
    assert problem.field in {"manifest", "manifest.files"}


# --- signatures ------------------------------------------------------------------------------------------------


def test_keys_are_rotated_without_a_restart(desk: Desk) -> None:
    files = onnx()
    desk.put(files | {"manifest.json": manifest_of(files, "2025")})
    assert desk.read().version.signed_by == "2025"
    desk.set_keys({"2026": KEYS["2026"]})
    assert desk.problems() == ["manifest.signature.key_id: '2025' is no key known here"]
    desk.set_keys({"2025": KEYS["2026"], "2026": KEYS["2025"]})
    assert [problem.split(": ")[0] for problem in desk.problems()] == ["manifest.signature.value"]
    desk.keys = None
    assert desk.problems() == ["manifest.signature.key_id: '2025' cannot be looked up: no signing keys are configured"]


def test_a_file_of_keys_that_is_not_there_loses_no_upload(desk: Desk) -> None:
    files = onnx()
    desk.put(files | {"manifest.json": manifest_of(files, "2026")})
    assert desk.keys is not None
    desk.keys.unlink()
    with pytest.raises(ConfigurationError):
        desk.read()


@pytest.mark.parametrize("folder", [f"models/{MODEL}/v2/", "models/other/v1/"])
def test_an_old_signed_package_is_of_no_use_elsewhere(desk: Desk, folder: str) -> None:
    for changes in ({}, {"version": None}, {"model": None}):
        files = onnx(**changes)
        desk.put(files | {"manifest.json": manifest_of(files, "2026")}, folder)
        version = desk.read(f"{folder}metadata.json").version
        assert {problem.field for problem in version.problems} & {"model", "version"}
        assert version.signed_by is None


@pytest.mark.parametrize("field", ["model", "version", "created_at"])
def test_signed_metadata_must_name_what_they_are(desk: Desk, field: str) -> None:
    content = json.loads(onnx()["metadata.json"])
    del content[field]
    files = onnx() | {"metadata.json": json.dumps(content).encode()}
    desk.put(files | {"manifest.json": manifest_of(files)})
    assert desk.problems() == []
    desk.put({"manifest.json": manifest_of(files, "2026")})
    assert [problem.split(": ")[0] for problem in desk.problems()] == [field]


def test_a_signature_does_not_cover_files_that_are_added_to_the_list(desk: Desk) -> None:
    files = onnx()
    manifest = json.loads(manifest_of(files, "2026"))
    manifest["files"]["extra.bin"] = {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}
    desk.put(files | {"extra.bin": b"x", "manifest.json": json.dumps(manifest).encode()})
    assert [problem.split(": ")[0] for problem in desk.problems()] == ["manifest.signature.value"]


# --- races -----------------------------------------------------------------------------------------------------


class Meddling:
    """A bucket in which something happens just before a call of one kind."""

    def __init__(self, bucket: Bucket, kind: str, meddle: Callable[[], object]) -> None:
        self.calls: list[str] = []
        self._bucket, self._kind, self._meddle = bucket, kind, meddle

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._bucket, name)
        if name == "uri":
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            if name == self._kind:
                self._meddle()
            return found(*arguments, **options)

        return call


@pytest.mark.parametrize("kind", ["digest", "copy"])
def test_an_artifact_replaced_while_it_is_looked_at_is_never_kept(desk: Desk, kind: str) -> None:
    files = onnx()
    desk.put(files | {"manifest.json": manifest_of(files, "2026")})
    bucket = desk.bucket
    desk.bucket = Meddling(bucket, kind, lambda: desk.put({"model.onnx": b"evil!!!" * 1000}))  # type: ignore[assignment]
    with pytest.raises(Conflict):
        keep_verified(desk.bucket, desk.read())
    desk.bucket = bucket
    assert [problem.split(": ")[0] for problem in desk.problems()] == ["manifest.files.model.onnx"]
    kept = [path.read_bytes() for path in desk.root.glob("verified/*/*/*.onnx")]
    assert b"evil!!!" * 1000 not in kept
    assert not list(desk.root.glob("verified/*/*/manifest.json"))


def test_an_artifact_replaced_between_check_and_copy_is_never_kept(desk: Desk) -> None:
    files = onnx()
    desk.put(files | {"manifest.json": manifest_of(files, "2026")})
    package = desk.read()
    desk.put({"model.onnx": b"evil!!!" * 1000})
    with pytest.raises(Conflict):
        keep_verified(desk.bucket, package)
    assert not list(desk.root.glob("verified/*/*/model.onnx"))


def test_a_report_replaced_after_it_was_read_is_never_kept(desk: Desk) -> None:
    files = onnx() | {"validation_report.json": b'{"passed": true }'}
    desk.put(files | {"manifest.json": manifest_of(files)})
    bucket = desk.bucket
    swap = {"validation_report.json": b'{"passed": false}'}
    desk.bucket = Meddling(bucket, "list", lambda: desk.put(swap))  # type: ignore[assignment]
    package = desk.read()
    assert package.version.validation_passed
    with pytest.raises(Conflict):
        keep_verified(bucket, package)


def test_a_manifest_replaced_after_it_was_verified_changes_nothing(desk: Desk) -> None:
    files = onnx()
    files["manifest.json"] = manifest_of(files, "2026")
    desk.put(files)
    package = desk.read()
    evil = {"model.onnx": b"evil"}
    desk.put({"manifest.json": manifest_of(onnx() | evil)})
    keep_verified(desk.bucket, package)
    assert desk.verified(package) == files


def test_copies_made_before_a_crash_are_used_if_they_are_right(desk: Desk) -> None:
    desk.put(onnx())
    package = desk.read()
    folder = desk.root / f"verified/{MODEL}/{package.version.content_digest}"
    desk.put({"model.onnx": WEIGHTS}, f"verified/{MODEL}/{folder.name}/")
    keep_verified(desk.bucket, package)
    assert desk.verified(package)["model.onnx"] == WEIGHTS


def test_what_somebody_else_put_into_the_verified_folder_is_not_deployed(desk: Desk) -> None:
    desk.put(onnx())
    package = desk.read()
    desk.put({"model.onnx": b"evil!!!" * 1000}, f"verified/{MODEL}/{package.version.content_digest}/")
    with pytest.raises(Refused):
        keep_verified(desk.bucket, package)


def test_nothing_is_hashed_twice_until_it_is_replaced(desk: Desk) -> None:
    files = onnx()
    desk.put(files | {"manifest.json": manifest_of(files)})
    counting = Meddling(desk.bucket, "", lambda: None)
    desk.bucket = counting  # type: ignore[assignment]
    hashed = []
    for change in ({}, {}, {"model.onnx": WEIGHTS}, {}):
        desk.put(change)
        counting.calls.clear()
        assert desk.problems() == []
        hashed.append(counting.calls.count("digest"))
    assert hashed == [2, 0, 2, 0]  # model.onnx and the words; the metadata were read anyway


# --- through the whole control plane ---------------------------------------------------------------------------


def test_a_package_with_a_manifest_goes_live_from_its_verified_copy(control: Control) -> None:
    files = onnx()
    for path, data in (files | {"manifest.json": manifest_of(files)}).items():
        control.put(f"models/{MODEL}/v1/{path}", data)
    assert control.tell_version("v1") == "approved"
    control.put(f"models/{MODEL}/v1/model.onnx", b"evil")
    control.tell(f"models/{MODEL}/v1/model.onnx")
    control.settle()
    version = control.version("v1")
    assert version.status is Status.LIVE
    folder = control.data / "bucket/verified" / MODEL / version.content_digest
    assert served_version(control.services.bucket, version).artifact_uri == folder.resolve().as_uri()
    assert (folder / "model.onnx").read_bytes() == WEIGHTS


def test_a_tampered_package_is_rejected_with_its_reasons_and_can_be_mended(control: Control) -> None:
    files = onnx()
    for path, data in (files | {"model.onnx": b"evil", "manifest.json": manifest_of(files)}).items():
        control.put(f"models/{MODEL}/v1/{path}", data)
    assert control.tell_version("v1") == "rejected"
    control.settle()
    assert control.traffic == {}
    rejection = control.record("v1", "rejection.json")
    assert rejection is not None
    assert rejection["reasons"] == [f"manifest.files.model.onnx: has 4 bytes, not the {len(WEIGHTS)} listed"]
    control.put(f"models/{MODEL}/v1/model.onnx", WEIGHTS)
    assert control.tell(f"models/{MODEL}/v1/model.onnx") == "approved"


# --- archives and the command line -----------------------------------------------------------------------------


def test_an_archive_is_reproducible_and_verified(desk: Desk, tmp_path: Path) -> None:
    desk.put(onnx() | {"rejection.json": b"{}"})
    outputs = [tmp_path / "one.tar.gz", tmp_path / "two.tar.gz"]
    for output in outputs:
        assert pack(desk.bucket, MODEL, "v1", output) == 4
        for path in desk.root.rglob("*"):
            os.utime(path, (1, 1))
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert verify(outputs[0], None) == ([], "not signed")
    with tarfile.open(outputs[0]) as archive:
        assert archive.getnames() == ["manifest.json", *sorted(onnx())]
    problems, _ = verify(outputs[0], desk.keys)
    assert [problem.field for problem in problems] == ["manifest.signature"]


def test_a_package_that_is_not_what_its_manifest_says_is_not_packed(desk: Desk, tmp_path: Path) -> None:
    files = onnx()
    desk.put(files | {"manifest.json": manifest_of(files), "extra": b""})
    with pytest.raises(InvalidInput, match=r"manifest\.files\.extra"):
        pack(desk.bucket, MODEL, "v1", tmp_path / "out.tar.gz")
    assert not list(tmp_path.glob("*out*"))
    assert not list(tmp_path.glob(".packing*"))


def archive(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for member, data in members:
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize(
    "bad",
    [
        member("../up"),
        member("/etc/passwd"),
        member("a/../../up"),
        member("metadata.json"),
        member("Metadata.json"),
        member("./metadata.json"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("link", tarfile.LNKTYPE, "metadata.json"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
        member("metadata.json/below"),
        member("extra"),
    ],
    ids=lambda one: f"{one.name} {one.type!r}",
)
def test_an_archive_with_tricks_is_wrong(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    files = onnx()
    good = [(member(path), data) for path, data in (files | {"manifest.json": manifest_of(files)}).items()]
    assert verify(archive(tmp_path / "good.tar.gz", good), None)[0] == []
    problems, _ = verify(archive(tmp_path / "bad.tar.gz", [*good, (bad, b"")]), None)
    assert problems


def test_the_same_file_twice_is_wrong_even_if_the_last_one_is_right(tmp_path: Path) -> None:
    files = onnx()
    files["manifest.json"] = manifest_of(files)
    members = [(member("model.onnx"), b"evil"), *((member(path), data) for path, data in files.items())]
    problems, _ = verify(archive(tmp_path / "twice.tar.gz", members), None)
    assert "model.onnx: is there twice" in [str(problem) for problem in problems]
    problems, _ = verify(archive(tmp_path / "same.tar.gz", [*members[1:], members[-1]]), None)
    assert [str(problem) for problem in problems] == ["manifest.json: is there twice"]


def test_an_archive_that_claims_too_much_is_left_off_early(tmp_path: Path) -> None:
    huge = member("model.onnx")
    huge.size = (1 << 30) + 1
    bombs = {"size": huge.tobuf(tarfile.GNU_FORMAT)}
    header = member("x", tarfile.XHDTYPE)
    header.size = 8 << 30
    bombs["header"] = header.tobuf(tarfile.GNU_FORMAT)
    for name, data in bombs.items():
        path = tmp_path / name
        path.write_bytes(gzip.compress(data + b"\0" * 10240))
        try:
            problems = list(verify(path, None)[0])
        except InvalidInput as error:
            problems = list(error.problems)
        assert any("too much" in str(p) or "claims" in str(p) for p in problems), name


def command(*arguments: object) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "modeldrop.cli", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_sign_package_and_verify_on_the_command_line(desk: Desk, tmp_path: Path) -> None:
    desk.put(onnx())
    folder, output, keys = desk.root / f"models/{MODEL}/v1", tmp_path / "out.tar.gz", desk.keys
    assert command("sign", folder, "--key-id", "2026", "--keys", keys).returncode == 0
    assert desk.read().version.signed_by == "2026"
    assert command("package", MODEL, "v1", "--data", tmp_path, "-o", output).returncode == 0
    said = command("verify", output, "--keys", keys)
    assert (said.returncode, said.stdout) == (0, "ok; signed by 2026\n")
    (folder / "model.onnx").write_bytes(b"evil")
    (folder / "extra").write_bytes(b"")
    said = command("verify", folder)
    assert said.returncode == 1
    assert "files.model.onnx" in said.stderr
    assert "files.extra" in said.stderr
    assert command("package", MODEL, "v1", "--data", tmp_path, "-o", output).returncode == 1
    assert command("verify", tmp_path / "nothing").returncode == 2
    assert command("verify", keys).returncode == 2


def test_what_would_be_rejected_is_not_signed(desk: Desk) -> None:
    assert desk.keys is not None
    desk.put(onnx(version=None) | {"a": b"", "A": b""})
    folder = desk.root / f"models/{MODEL}/v1"
    (folder / "link").symlink_to("model.onnx")
    with pytest.raises(InvalidInput) as caught:
        sign_folder(folder, "2026", desk.keys)
    assert {"version", "link"} <= {problem.field for problem in caught.value.problems}
    assert any("same file" in problem.message for problem in caught.value.problems)
    assert not (folder / "manifest.json").exists()
    with pytest.raises(InvalidInput, match="key_id"):
        sign_folder(folder, "2024", desk.keys)


@pytest.mark.parametrize("with_manifest", [True, False])
def test_artifacts_after_the_metadata(control: Control, with_manifest: bool) -> None:
    files = onnx()
    control.put(f"models/{MODEL}/v1/metadata.json", files["metadata.json"])
    if with_manifest:
        control.put(f"models/{MODEL}/v1/manifest.json", manifest_of(files))
    assert control.tell_version("v1") == "received"
    for path in ("vocabulary/words.txt", "model.onnx"):
        control.put(f"models/{MODEL}/v1/{path}", files[path])
    assert control.tell(f"models/{MODEL}/v1/model.onnx") == "approved"
    control.settle()
    version = control.version("v1")
    assert version.status is Status.LIVE
    folder = control.data / "bucket/verified" / MODEL / version.content_digest
    assert (folder / "model.onnx").read_bytes() == WEIGHTS
    control.put(f"models/{MODEL}/v1/model.onnx", b"e" * len(WEIGHTS))
    came = control.tell(f"models/{MODEL}/v1/model.onnx")
    assert came == ("live" if with_manifest else "refused"), came
    assert control.version("v1") == version or with_manifest
    assert control.version("v1").content_digest == version.content_digest


def test_a_manifest_after_approval_changes_nothing(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    data = (control.data / f"bucket/models/{MODEL}/v1/metadata.json").read_bytes()
    control.put(f"models/{MODEL}/v1/manifest.json", manifest_of({"metadata.json": data}))
    assert control.tell(f"models/{MODEL}/v1/manifest.json") == "live"
    assert control.version("v1").content_digest == ""


def test_from_staging_to_production_the_same_content(tmp_path: Path) -> None:
    """Two control planes: what was approved in one is packed, checked and dropped into the other."""
    staging, production = Control(tmp_path / "staging"), Control(tmp_path / "production")
    for control in (staging, production):
        control.policy(FAST)
    files = onnx()
    for path, data in (files | {"manifest.json": manifest_of(files)}).items():
        staging.put(f"models/{MODEL}/v1/{path}", data)
    assert staging.tell_version("v1") == "approved"
    staging.settle()
    archive = tmp_path / "v1.tar.gz"
    pack(staging.services.bucket, MODEL, "v1", archive)
    assert verify(archive, None)[0] == []
    with tarfile.open(archive) as opened:
        opened.extractall(production.data / "bucket/models" / MODEL / "v1", filter="data")
    assert production.tell_version("v1") == "approved"
    production.settle()
    assert production.traffic == {"v1": 100}
    assert production.version("v1").digest == staging.version("v1").digest
    assert production.version("v1").content_digest == staging.version("v1").content_digest
