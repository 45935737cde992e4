"""The outbox: news brought to the channels of policies."""
