"""modeldrop: drop a metadata file into a bucket, and the model is checked, rolled out, watched, rolled back."""

__version__ = "0.1.0"
