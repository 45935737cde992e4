"""Retraining: what asks for it, when it is asked for, and what became of it. Pure."""
