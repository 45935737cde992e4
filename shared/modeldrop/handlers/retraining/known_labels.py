"""Which labels are known of a model: one digest that changes when any come."""

import hashlib
from itertools import islice

from modeldrop.handlers.reports.choose_baseline import fingerprint
from modeldrop.records.windows import Windows
from modeldrop.wiring import Services

MOST_WINDOWS = 24
"""Labels come for the latest windows; those of older ones change no decision."""


def known_labels(services: Services, model: str) -> str | None:
    """SHA-256 (hex) over the labels of the latest windows that have any; None: there never were any."""
    windows = Windows(services.documents)
    digest, any_ = hashlib.sha256(), False
    for record in islice(windows.label_records(model), MOST_WINDOWS):
        sample = windows.labels(model, record.start)
        if sample is not None and sample.rows:
            any_ = True
            digest.update(f"{record.start.isoformat()} {fingerprint(sample)}\n".encode())
    return digest.hexdigest() if any_ else None
