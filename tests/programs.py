"""Programs that some tests need besides Python: where they are, and how to get them."""

import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
HOW_TO_GET = {
    "linux": "the kernel that ends a child with its killed parent (prctl PR_SET_PDEATHSIG); no other system does",
    "terraform": "https://developer.hashicorp.com/terraform/install (1.9 or later)",
    "checkov": "make checkov",
    "node": "https://nodejs.org (20 or later), then make publish-node",
    "gcloud": "https://cloud.google.com/sdk/docs/install",
    "postgres": "apt-get install postgresql (its server need not be started)",
    "redis-server": "apt-get install redis-server (it need not be started)",
    "chromium": "Debian/Ubuntu: apt-get install chromium",
}
_OTHER_NAMES = {"chromium": ("chromium-browser", "google-chrome", "google-chrome-stable")}
_BESIDE_THE_PATH = {"postgres": "/usr/lib/postgresql/*/bin/postgres"}  # where Debian puts it


def find_program(name: str) -> str | None:
    """Where the program is: in an environment of its own (``.venv-NAME``), on the path, or in a known place."""
    if name == "linux":
        return sys.platform if sys.platform == "linux" else None
    if name == "node" and not (REPOSITORY / "examples/publish-node/node_modules").is_dir():
        return None
    own = REPOSITORY / f".venv-{name}/bin/{name}"
    if own.exists():
        return str(own)
    beside = max(Path("/").glob(_BESIDE_THE_PATH.get(name, "-").lstrip("/")), default=None)
    on_path = (shutil.which(each) for each in (name, *_OTHER_NAMES.get(name, ())))
    return next((path for path in on_path if path), None) or (str(beside) if beside else None)
