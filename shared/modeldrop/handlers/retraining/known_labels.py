"""How many labels are known of a model, window by window."""

from itertools import islice

from modeldrop.records.windows import Windows
from modeldrop.wiring import Services

MOST_WINDOWS = 24
"""Labels come for the latest windows; those of older ones change no decision."""


def known_labels(services: Services, model: str) -> dict[str, int]:
    """How many labels the latest windows that have any hold, by the window's start; of many it is an estimate.

    It only ever grows, until the window is past its time.
    """
    windows = Windows(services.documents)
    known: dict[str, int] = {}
    for record in islice(windows.label_records(model), MOST_WINDOWS):
        sample = windows.labels(model, record.start)
        if sample is not None and sample.rows:
            known[record.start.isoformat()] = sample.estimated_events
    return known
