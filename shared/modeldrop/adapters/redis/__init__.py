"""Redis: answers that several processes share."""
