"""Digests that tell whether what a report follows from has changed."""

import hashlib
from collections.abc import Sequence

import msgspec

from modeldrop.domain.sampling.window_sample import WindowSample


def fingerprint(sample: WindowSample) -> str:
    """SHA-256 (hex) of all that the sample holds."""
    digest = hashlib.sha256(f"{sample.sample_size} {sample.threshold}".encode())
    digest.update(msgspec.msgpack.encode(sample.rows))
    return digest.hexdigest()


def inputs_digest(parts: Sequence[object]) -> str:
    """SHA-256 (hex) of all that a report follows from, the same on every store: those keep no order of maps."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
