"""``python -m modeldrop.cli``."""

from modeldrop.cli import main

main()
