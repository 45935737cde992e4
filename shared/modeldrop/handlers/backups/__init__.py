"""Backups of the registry: everything that was decided and seen, in one file, and back."""
