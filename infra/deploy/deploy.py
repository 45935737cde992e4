"""Deploys the functions of infra/functions.yaml, one after the other, and smoke-tests each.

python infra/deploy/deploy.py --project=… --region=… [--only NAME …] [--dry-run]

What it needs is Python 3.11, PyYAML and gcloud. ``--help`` has the rest; docs/deploy.md says how it goes.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # it is started by its path, from a checkout

from infra.deploy.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
