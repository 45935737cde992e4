"""Ids on Vertex AI are valid for every name we allow, stable, and never shared."""

import re

from hypothesis import given
from hypothesis import strategies as st

from modeldrop.adapters.gcp.vertex_ids import deployed_id, endpoint_id, model_id
from modeldrop.ports import ServedVersion

models = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True)
versions = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
served = st.builds(
    ServedVersion,
    model=models,
    version=versions,
    digest=digests,
    runtime=st.just("scorecard"),
    artifact_uri=st.just("gs://bucket/folder"),
)


@given(served)
def test_every_id_is_one_vertex_accepts(version: ServedVersion) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", endpoint_id(version.model))
    assert re.fullmatch(r"[a-z_][a-z0-9_-]{0,62}", model_id(version))
    assert re.fullmatch(r"[1-9][0-9]{9}", deployed_id(version))


@given(models, models)
def test_two_models_never_share_an_endpoint(one: str, other: str) -> None:
    assert (endpoint_id(one) == endpoint_id(other)) == (one == other)


@given(served, served)
def test_ids_follow_model_version_and_digest_alone(one: ServedVersion, other: ServedVersion) -> None:
    same = (one.model, one.version, one.digest) == (other.model, other.version, other.digest)
    assert (model_id(one) == model_id(other)) == same
    assert (deployed_id(one) == deployed_id(other)) == same


def test_long_names_that_differ_at_the_end_get_different_ids() -> None:
    long = "a" * 62
    assert endpoint_id(long + "b") != endpoint_id(long + "c")
    assert endpoint_id("a-") != endpoint_id("a")


def test_ids_stay_what_they_are() -> None:
    """They name resources that exist: to change the derivation is to lose them."""
    version = ServedVersion("fraud", "v1", "ab" * 32, "scorecard", "gs://bucket/folder")
    assert (endpoint_id("fraud"), model_id(version), deployed_id(version)) == (
        "modeldrop-fraud-f2a2593513",
        "modeldrop-d250cfceb638-abababababababababababababababababababab",
        "2743872745",
    )
