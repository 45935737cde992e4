"""Drift and quality reports, computed from the samples when somebody asks."""
