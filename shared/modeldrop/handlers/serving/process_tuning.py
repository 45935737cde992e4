"""What makes a process answer evenly: its threads take turns, and its garbage collector looks at less."""

import gc
import sys
from functools import cache

SWITCH_SECONDS = 0.0005
"""Many threads with a millisecond of work each: at Python's own 5 ms one of them may keep all others waiting."""


@cache
def take_turns() -> None:
    """Once in a process, before it answers anybody."""
    sys.setswitchinterval(SWITCH_SECONDS)


@cache
def set_aside_what_stays() -> None:
    """Once in a process, when a version is loaded: all there is now is looked at no more.

    The clients and models of a version are a hundred thousand objects and more, which never change. Each full
    collection would look at all of them for 30 to 75 ms, in which nobody is answered. Whatever comes later is
    collected as ever, and what is set aside is still freed with its last user; only cycles in it are not.
    """
    gc.collect()  # garbage that is set aside would stay for good
    gc.freeze()
