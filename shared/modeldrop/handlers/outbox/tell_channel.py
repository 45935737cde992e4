"""One attempt to tell a channel something."""

import logging
from typing import Literal

import msgspec

from modeldrop.domain.notification import Notification
from modeldrop.domain.targets import Channel, describe
from modeldrop.errors import ModeldropError, TransientError
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

_LONGEST_ERROR = 500


class Telling(msgspec.Struct, frozen=True):
    """What came of it: ``delivered``, ``refused`` by somebody who means it, or it ``failed`` and may work later."""

    outcome: Literal["delivered", "refused", "failed"]
    error: str = ""


def tell_channel(services: Services, channel: Channel, notification: Notification) -> Telling:
    """Tell it. Whatever goes wrong is said in the answer, never raised.

    A secret or setting that is missing is a refusal: nothing but somebody's hand changes it. Refusals are given up
    sooner than failures, but not at once: hands take passwords away before they bring others.
    """
    try:
        services.notifier(channel).notify(notification)
    except TransientError as error:
        return Telling("failed", str(error)[:_LONGEST_ERROR])
    except ModeldropError as error:
        return Telling("refused", str(error)[:_LONGEST_ERROR])
    except Exception as error:  # a bug of ours: the next release may be without it, and what it says may be secret
        log.exception("%s could not be told of %s", describe(channel), notification.id)
        return Telling("failed", type(error).__name__)
    return Telling("delivered")
