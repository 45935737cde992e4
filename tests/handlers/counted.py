"""Proxies that count what goes through them to the real thing."""

from collections import Counter
from typing import Any

from modeldrop.wiring import Services
from tests.handlers.control import Control


class Counted:
    """Passes every call on, and counts it under its name."""

    def __init__(self, real: Any) -> None:
        self.calls: Counter[str] = Counter()
        self._real = real

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        def call(*args: Any, **options: Any) -> Any:
            self.calls[name] += 1
            return method(*args, **options)

        return call


def counted(control: Control, role: str) -> tuple[Services, Counted]:
    """Another instance whose adapter for ``role`` is counted."""
    services = control.another_instance()
    proxy = Counted(getattr(services, role))
    services.__dict__[role] = proxy
    return services, proxy
