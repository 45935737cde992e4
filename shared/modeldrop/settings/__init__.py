"""The only reader of the environment: frozen dataclasses, read once, documented beside each field."""

from modeldrop.settings.consistency import LOG_LEVELS
from modeldrop.settings.control_plane import Settings, log_level, read_settings
from modeldrop.settings.serving import (
    PORT_VARIABLE,
    SERVING_VARIABLES,
    ServiceSettings,
    ServingSettings,
    read_service_settings,
    read_serving_settings,
)
from modeldrop.settings.variables import SECRETS_PREFIX, variable

__all__ = [
    "LOG_LEVELS",
    "PORT_VARIABLE",
    "SECRETS_PREFIX",
    "SERVING_VARIABLES",
    "ServiceSettings",
    "ServingSettings",
    "Settings",
    "log_level",
    "read_service_settings",
    "read_serving_settings",
    "read_settings",
    "variable",
]
