"""Retraining: asked for, started, followed; and what people are proposed instead."""
