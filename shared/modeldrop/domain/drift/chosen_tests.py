"""Which test a policy wants for a type, and from which value on it speaks of drift."""

from collections.abc import Mapping

import msgspec

from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.scorecard import FeatureType
from modeldrop.errors import FieldProblem, InvalidInput

OF_NUMBERS_ALONE = ("ks", "wasserstein")
_DEFAULTS = DriftPolicy()


class ChosenTests(msgspec.Struct, frozen=True):
    """The test for numbers (texts are compared by theirs) and for categories (and booleans), and all thresholds."""

    numeric: str
    categorical: str
    thresholds: Mapping[str, float]

    def for_type(self, type_: FeatureType) -> str:
        """The test for columns of that type."""
        return self.numeric if type_ in ("numeric", "text") else self.categorical


def chosen_tests(policy: DriftPolicy) -> ChosenTests:
    """The policy's choice; what it leaves out is as by default. Raises InvalidInput where a test does not fit its type.

    >>> chosen_tests(DriftPolicy(tests={"numeric": "ks"}, thresholds={"ks": 0.3})).for_type("boolean")
    'jensen_shannon'
    """
    tests = {**_DEFAULTS.tests, **policy.tests}
    if tests["categorical"] in OF_NUMBERS_ALONE:
        problem = f"{tests['categorical']} compares numbers; categories have psi and jensen_shannon"
        raise InvalidInput([FieldProblem("drift.tests.categorical", problem)])
    thresholds = {**_DEFAULTS.thresholds, **policy.thresholds}
    return ChosenTests(tests["numeric"], tests["categorical"], {str(name): value for name, value in thresholds.items()})
