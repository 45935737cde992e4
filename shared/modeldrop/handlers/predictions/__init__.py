"""Predictions answered and logged: from events to rows of the windows' samples."""
