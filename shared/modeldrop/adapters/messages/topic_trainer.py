"""Retraining requests as messages on a topic."""

from datetime import datetime

import msgspec

from modeldrop.adapters.http.signed_webhook import training_content
from modeldrop.adapters.messages.sending import send
from modeldrop.ports import Publisher, Run, TrainingRequest


class TopicTrainer:
    """A ports.Trainer: the JSON that a webhook would get; the attribute ``episode`` is the key."""

    def __init__(self, publisher: Publisher, topic: str) -> None:
        self._publisher = publisher
        self._topic = topic

    def start(self, request: TrainingRequest, *, again: datetime | None) -> Run:
        """See Trainer. Asked again it sends the same message again: subscribers know it by the episode."""
        attributes = {"episode": request.episode, "model": request.model, "cause": request.cause}
        send(self._publisher, self._topic, msgspec.json.encode(training_content(request)), attributes)
        return Run(id=None, state="accepted")

    def observe(self, request: TrainingRequest, run: Run) -> Run | None:
        """None: a topic does not tell. The episode ends with the version that comes of it."""
        return None
