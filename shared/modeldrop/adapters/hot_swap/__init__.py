"""Versions that share one deployment, which follows a pointer in the bucket; in front of any ModelServer."""
