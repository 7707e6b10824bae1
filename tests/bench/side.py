"""One side of a comparison, in a process of its own: MODULE FUNCTION ARGUMENTS-AS-JSON.

Prints what the function returns, as JSON. The module is a path below this folder without its end,
such as `rivals/npy`.
"""

from __future__ import annotations

import importlib
import json
import sys


def main():
    module, function, arguments = sys.argv[1:]
    found = importlib.import_module(module.replace("/", "."))
    print(json.dumps(getattr(found, function)(*json.loads(arguments))))


main()
