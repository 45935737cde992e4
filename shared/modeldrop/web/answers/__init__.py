"""What the API answers, as types: encoded as they are, and described by them in ``/v1/openapi.json``."""
