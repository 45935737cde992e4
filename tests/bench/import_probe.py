"""Run in a fresh interpreter: load one function as the platform does, and say how long that took and what came along.

``python -P import_probe.py NAME SOURCE`` prints one line of JSON. Nothing else may be imported here: what this file
imports is in every result.
"""

import json
import sys
import time


def load(name: str, source: str) -> dict[str, object]:
    """Seconds to import the framework and to make the function's application, and all modules there are then.

    ``cpu_seconds`` are those of the whole process so far, the interpreter's own start included.
    """
    begin = time.perf_counter()
    import functions_framework  # this is what is measured

    functions_framework.create_app(name, source)
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time()
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "modules": sorted(sys.modules)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(load(sys.argv[1], sys.argv[2])) + "\n")
