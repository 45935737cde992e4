"""Versions taking over, being watched, held and taken back; and what operators say about them."""
