"""Limits on what the inference service takes."""

BODY_LIMIT_BYTES = 1_500_000
"""As on shared endpoints of Vertex AI."""
