"""What the garbage collector of a serving process looks at."""

import gc
from functools import cache


@cache
def set_aside_what_stays() -> None:
    """Once in a process, when a version is loaded: all there is now is looked at no more.

    The clients and models of a version are a hundred thousand objects and more, which never change. Each full
    collection would look at all of them for 30 to 75 ms, in which nobody is answered. Whatever comes later is
    collected as ever, and what is set aside is still freed with its last user; only cycles in it are not.
    """
    gc.collect()  # garbage that is set aside would stay for good
    gc.freeze()
