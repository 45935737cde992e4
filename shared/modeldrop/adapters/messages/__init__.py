"""Topics as channels and as targets, over any Publisher."""
