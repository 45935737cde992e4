"""Retraining requests to a webhook."""

from datetime import datetime

from modeldrop.adapters.http.guarded_client import GuardedClient, accepted
from modeldrop.adapters.http.signed_webhook import training_content, webhook_request
from modeldrop.domain.targets import WebhookTarget, describe
from modeldrop.ports import Run, TrainingRequest


class WebhookTrainer:
    """A ports.Trainer; ``secret``: what its requests are signed with, None: they are not."""

    def __init__(self, client: GuardedClient, target: WebhookTarget, secret: str | None) -> None:
        self._client = client
        self._target = target
        self._secret = secret

    def start(self, request: TrainingRequest, *, again: datetime | None) -> Run:
        """See Trainer. Asked again it sends the same again: the receiver knows it by its key, the episode."""
        webhook = webhook_request(training_content(request), key=request.episode, secret=self._secret)
        answer = self._client.send("POST", self._target.url, body=webhook.body, headers=webhook.headers)
        accepted(answer, describe(self._target))
        return Run(id=None, state="accepted")

    def observe(self, request: TrainingRequest, run: Run) -> Run | None:
        """None: a webhook does not tell. The episode ends with the version that comes of it."""
        return None
