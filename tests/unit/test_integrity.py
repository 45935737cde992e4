"""Manifests: canonical bytes, signatures, paths, and every limit on what comes from outside."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain import integrity
from modeldrop.domain.integrity import FileDigest, Manifest
from modeldrop.errors import ConfigurationError, InvalidInput
from modeldrop.events.manifest import MANIFEST_LIMIT_BYTES, read_manifest, read_signing_keys, write_manifest

SHA = "ab" * 32
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
FILES = {"metadata.json": FileDigest(SHA, 2), "weights/ä.onnx": FileDigest("cd" * 32, 3)}


def fields(problems: Any) -> list[str]:
    return [problem.field for problem in problems]


def of_paths(*paths: str) -> Manifest:
    return Manifest({path: FileDigest(SHA, 1) for path in paths})


# --- canonical bytes and signatures ----------------------------------------------------------------------------


def test_the_canonical_bytes_are_those_documented() -> None:
    text = (
        '{"files":{"metadata.json":{"sha256":"' + SHA + '","size":2},"weights/ä.onnx":'
        '{"sha256":"' + "cd" * 32 + '","size":3}}}'
    )
    assert integrity.canonical_bytes(FILES) == text.encode()
    assert integrity.content_digest(FILES) == hashlib.sha256(text.encode()).hexdigest()
    signature = integrity.sign(FILES, "k1", KEY)
    assert base64.b64decode(signature.value) == hmac.digest(KEY, text.encode(), "sha256")


def test_order_and_form_of_the_file_do_not_matter_to_the_signature() -> None:
    signed = Manifest(FILES, integrity.sign(FILES, "k1", KEY))
    turned = {path: FILES[path] for path in reversed(FILES)}
    for data in (write_manifest(signed), json.dumps(json.loads(write_manifest(signed))).encode()):
        assert read_manifest(data) == signed
        assert integrity.signature_problems(read_manifest(data), {"k1": KEY}) == []
    assert integrity.signature_problems(Manifest(turned, signed.signature), {"k1": KEY}) == []


@given(
    st.dictionaries(st.text(max_size=8), st.tuples(st.sampled_from([SHA, "cd" * 32]), st.integers(0, 3)), max_size=4)
)
def test_other_files_are_other_bytes(content: dict[str, tuple[str, int]]) -> None:
    files = {path: FileDigest(*facts) for path, facts in content.items()}
    signature = integrity.sign(FILES, "k1", KEY)
    problems = integrity.signature_problems(Manifest(files, signature), {"k1": KEY})
    assert fields(problems) == ([] if files == FILES else ["manifest.signature.value"])
    assert json.loads(integrity.canonical_bytes(files)) == {
        "files": {path: {"sha256": file.sha256, "size": file.size} for path, file in files.items()}
    }


@pytest.mark.parametrize(
    ("change", "keys", "field"),
    [
        ({}, {"k1": OTHER_KEY}, "value"),
        ({}, {"k2": KEY}, "key_id"),
        ({}, {}, "key_id"),
        ({"alg": "hmac-sha1"}, {"k1": KEY}, "alg"),
        ({"alg": "none", "value": ""}, {"k1": KEY}, "alg"),
        ({"value": ""}, {"k1": KEY}, "value"),
        ({"value": "ü"}, {"k1": KEY}, "value"),
        ({"value": "AAAA"}, {"k1": KEY}, "value"),
        ({"key_id": "k2"}, {"k1": KEY, "k2": OTHER_KEY}, "value"),
    ],
)
def test_a_wrong_signature_says_what_is_wrong(change: dict[str, str], keys: dict[str, bytes], field: str) -> None:
    signature = {"alg": "hmac-sha256", "key_id": "k1", "value": integrity.sign(FILES, "k1", KEY).value} | change
    manifest = Manifest(FILES, integrity.Signature(**signature))
    (problem,) = integrity.signature_problems(manifest, keys)
    assert problem.field == f"manifest.signature.{field}"


def test_any_of_several_keys_signs_while_they_are_rotated() -> None:
    keys = {"2025": OTHER_KEY, "2026": KEY}
    for key_id, key in keys.items():
        manifest = Manifest(FILES, integrity.sign(FILES, key_id, key))
        assert integrity.signature_problems(manifest, keys) == []
        withdrawn = {name: value for name, value in keys.items() if name != key_id}
        assert fields(integrity.signature_problems(manifest, withdrawn)) == ["manifest.signature.key_id"]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, []),
        ({"model": "other"}, ["model"]),
        ({"version": "v0"}, ["version"]),
        ({"model": None, "version": None, "created_at": None}, ["model", "version", "created_at"]),
    ],
)
def test_signed_metadata_name_what_they_are_of(change: dict[str, Any], wrong: list[str]) -> None:
    document = {"model": "m", "version": "v1", "created_at": "2026-01-01"} | change
    assert fields(integrity.replay_problems(document, "m", "v1")) == wrong


# --- paths and limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../metadata.json",
        "a/../b",
        "a//b",
        "./a",
        "a/",
        "a\\b",
        "..\\a",
        "a\nb",
        "a\x1bb",
        "a\x7f",
        "a\x85b",
        "a\u2028b",
        "x" * 513,
        "ä" * 257,
        "manifest.json",
        "rejection.json",
    ],
    ids=lambda path: ascii(path[:12]),
)
def test_paths_that_no_package_has(path: str) -> None:
    problems = integrity.listing_problems(of_paths("ok", path), ["ok"])
    assert len(problems) == 1
    assert problems[0].field.startswith("manifest.files.")
    assert all(character.isprintable() and character.isascii() for character in problems[0].field)
    assert integrity.path_problems([path]) == problems


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Model.onnx", "model.ONNX"),
        ("\u00e9", "e\u0301"),
        ("\u00c9", "e\u0301"),
        ("stra\u00dfe", "STRASSE"),
        ("a", "a/b"),
        ("A/b/c", "a/B"),
    ],
)
def test_two_paths_that_are_one_somewhere(one: str, other: str) -> None:
    for paths in ((one, other), (other, one)):
        assert len(integrity.listing_problems(of_paths(*paths), [])) == 1


def test_paths_as_they_should_be() -> None:
    manifest = of_paths(
        "metadata.json", "a-b", "a/b", "a/c", "x" * 512, "ä" * 256, ".hidden", "a..b", "sub/manifest.json"
    )
    assert integrity.listing_problems(manifest, ["metadata.json"]) == []


@pytest.mark.parametrize(("size", "right"), [(0, True), (1 << 30, True), ((1 << 30) + 1, False), (-1, False)])
def test_sizes_have_limits(size: int, right: bool) -> None:
    assert (integrity.listing_problems(Manifest({"a": FileDigest(SHA, size)}), []) == []) is right


def test_all_problems_at_once_with_their_paths() -> None:
    manifest = of_paths("a", "b", "model.onnx")
    assert fields(integrity.listing_problems(manifest, ["metadata.json", "a"])) == ["manifest.files.metadata.json"]
    problems = integrity.presence_problems(
        manifest, {"a": 1, "b": 2, "extra": 1, "rejection.json": 9, "manifest.json": 1}
    )
    assert fields(problems) == ["manifest.files.extra", "manifest.files.b"]
    found = {"a": SHA, "model.onnx": "00" * 32}
    assert fields(integrity.digest_problems(manifest, found)) == ["manifest.files.model.onnx"]
    assert integrity.missing_files(manifest, {"b"}) == ["a", "model.onnx"]


def test_a_report_stays_small() -> None:
    problems = integrity.listing_problems(of_paths(*(f"../{number}" for number in range(1000))), [])
    assert len(problems) == integrity.MOST_PROBLEMS + 1
    assert problems[-1].message == "and 900 more problems"


# --- from bytes ------------------------------------------------------------------------------------------------


def document(**changes: Any) -> dict[str, Any]:
    return {"files": {"metadata.json": {"sha256": SHA, "size": 2}}} | changes


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "manifest"),
        (b"[]", "manifest"),
        (b"{}", "manifest.files"),
        (b'{"files": {}, "files": {}}', "manifest"),
        (b'{"files": {"a": {"sha256": "", "size": 1}, "a": {"sha256": "", "size": 1}}}', "manifest"),
        (b'{"files": ' + b"[" * 100_000, "manifest"),
        (b'{"files": {"a": ' + b'{"a":' * 40 + b"1" + b"}" * 42, "manifest"),
        (b" " * (MANIFEST_LIMIT_BYTES + 1), "manifest"),
        (b'{"files": {"\\ud800": {}}}', "manifest"),
        (json.dumps(document(extra=1)).encode(), "manifest.extra"),
        (json.dumps({"files": {"a": {"sha256": SHA, "size": 1, "mode": 7}}}).encode(), "manifest.files.a.mode"),
        (json.dumps({"files": {"a": {"sha256": SHA.upper(), "size": 1}}}).encode(), "manifest.files.a.sha256"),
        (json.dumps({"files": {"a": {"sha256": SHA + "\n", "size": 1}}}).encode(), "manifest.files.a.sha256"),
        (json.dumps({"files": {"a": {"sha256": SHA, "size": 1.5}}}).encode(), "manifest.files.a.size"),
        (json.dumps({"files": {"model.onnx": {"size": 1}}}).encode(), "manifest.files.model.onnx.sha256"),
        (json.dumps({"files": {f"{n}": {"sha256": SHA, "size": 1} for n in range(1001)}}).encode(), "manifest.files"),
        (json.dumps(document(signature={"alg": "hmac-sha256"})).encode(), "manifest.signature"),
        (json.dumps(document(signature="x")).encode(), "manifest.signature"),
    ],
    ids=lambda value: value[:40].decode() if isinstance(value, bytes) else "",
)
def test_what_is_no_manifest(content: bytes, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_manifest(content)
    assert field in fields(caught.value.problems)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"k": 5}',
        b'{"k": "not base64: secret"}',
        b'{"k": "c2VjcmV0"}',
        b'{"k": "c2VjcmV0c2VjcmV0c2VjcmV0", "k": "c2VjcmV0c2VjcmV0c2VjcmV0"}',
    ],
)
def test_a_bad_file_of_keys_is_an_error_that_shows_no_secret(content: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_signing_keys(content)
    assert "secret" not in str(caught.value).replace("secret in base64", "")
    assert "c2Vj" not in str(caught.value)


def test_keys_are_read_from_base64() -> None:
    content = json.dumps({"a": base64.b64encode(KEY).decode(), "b": base64.b64encode(b"x" * 16).decode()}).encode()
    assert read_signing_keys(content) == {"a": KEY, "b": b"x" * 16}
