"""Says what the tests will leave out on this machine, before they run: ``python -m tests.left_out``.

With counts it is said at the end of the run, by conftest.py.
"""

from modeldrop.localcloud.emulators import Missing, find_emulator
from tests.programs import HOW_TO_GET, find_program

EMULATORS = ("firestore", "pubsub")


def left_out() -> list[str]:
    """A line for everything that tests need and that is not here, with how to get it."""
    emulators = [find_emulator(name) for name in EMULATORS]
    lines = [str(found) for found in emulators if isinstance(found, Missing)]
    return lines + [f"{name}: {remedy}" for name, remedy in HOW_TO_GET.items() if find_program(name) is None]


if __name__ == "__main__":
    lacks = left_out()
    print("tests that need these are left out:" if lacks else "no test is left out")
    print("".join(f"  {lack}\n" for lack in lacks), end="")
