"""What a channel is told: news of a model, as data and as text."""

from datetime import datetime

import msgspec

from modeldrop.domain.news import News


class Notification(msgspec.Struct, frozen=True):
    """``id`` is the same however often it is sent. ``link``: where to read on; None: no address is configured."""

    id: str
    model: str
    news: News
    at: datetime
    link: str | None = None

    @property
    def subject(self) -> str:
        """One line.

        >>> news = News("rolled_back", "v5", "rolled back", "error rate 0.2 is above 0.01")
        >>> Notification("n1", "flights", news, datetime(2026, 1, 1)).subject
        'flights v5: rolled back'
        """
        return " ".join(f"{self.model} {self.news.version}: {self.news.what}".split())[:200]

    @property
    def text(self) -> str:
        """A few lines for people."""
        lines = [self.subject, self.news.why, f"at {self.at.isoformat(timespec='seconds')}", self.link or ""]
        return "\n".join(line for line in lines if line)
