"""A report must fit into a document: where it would not, pictures go first, and nothing else.

Measured: a picture takes 0.6 KB and what else is said of a feature 0.5 KB, so that some 900 features have room for
all of their pictures; fewer where these are of long names.
"""

from collections.abc import Iterable

import msgspec

from modeldrop.domain.documents import check_data
from modeldrop.domain.drift.alarm import DRIFTED
from modeldrop.domain.drift.distribution import CategoricalDistribution, Distribution
from modeldrop.domain.drift.feature_drift import FeatureDrift
from modeldrop.domain.drift.report import DriftReport

MOST_BYTES = 1_000_000
"""Of a report; a document may have 1 MiB less 8 KiB, and there is a little beside the columns."""
FEW_FEATURES = 100
"""So many fit with the largest pictures there can be, of long names in a script of four bytes a character."""
_BYTES_BESIDE = 66  # names of the fields, and the kind
_BYTES_OF_NUMBER = 8
_BYTES_AROUND_TEXT = 4


def within_room(report: DriftReport, most_bytes: int = MOST_BYTES) -> tuple[DriftReport, int]:
    """The report without the pictures it has no room for, and how many these are.

    The predictions' stays, then those of drifted features, then the others', in the order of the features.
    """
    if len(report.features) <= FEW_FEATURES:
        return report, 0
    plain = msgspec.structs.replace(report, features=[_without(feature) for feature in report.features])
    room = most_bytes - check_data(msgspec.to_builtins(plain))
    if report.prediction is not None and report.prediction.distribution is not None:
        room -= _bytes_of(report.prediction.distribution)
    kept = _fitting(report.features, room)
    features = [feature if feature.name in kept else _without(feature) for feature in report.features]
    left_out = sum(feature.distribution is not None and feature.name not in kept for feature in report.features)
    return msgspec.structs.replace(report, features=features), left_out


def _fitting(features: Iterable[FeatureDrift], room: int) -> set[str]:
    kept = set()
    for feature in sorted(features, key=lambda each: each.verdict != DRIFTED):
        if feature.distribution is None:
            continue
        room -= _bytes_of(feature.distribution)
        if room < 0:
            break
        kept.add(feature.name)
    return kept


def _without(feature: FeatureDrift) -> FeatureDrift:
    return msgspec.structs.replace(feature, distribution=None)


def _bytes_of(shown: Distribution) -> int:
    """What it adds to a document, as ``domain.documents`` counts."""
    if isinstance(shown, CategoricalDistribution):
        labels = sum(len(label.encode()) + _BYTES_AROUND_TEXT for label in shown.categories)
    else:
        labels = _BYTES_OF_NUMBER * len(shown.edges)
    return _BYTES_BESIDE + labels + 2 * _BYTES_OF_NUMBER * len(shown.live)
