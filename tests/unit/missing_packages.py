"""Python in which some packages cannot be imported, as where they are not installed."""

WITHOUT = """
import json, sys

class Missing:
    names = set(json.loads(sys.argv[1]))

    def find_spec(self, name, *_):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Missing())
"""
"""Before a program for ``python -c``; the first argument has the packages' names, as JSON."""
