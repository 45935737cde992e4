"""Programs that some tests need besides Python: where they are, and how to get them."""

import shutil
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
HOW_TO_GET = {
    "terraform": "https://developer.hashicorp.com/terraform/install (1.9 or later)",
    "checkov": "make checkov",
    "gcloud": "https://cloud.google.com/sdk/docs/install",
}


def find_program(name: str) -> str | None:
    """Where the program is: in an environment of its own (``.venv-NAME``), or on the path."""
    own = REPOSITORY / f".venv-{name}/bin/{name}"
    return str(own) if own.exists() else shutil.which(name)
