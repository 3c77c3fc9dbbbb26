"""Where the interpreter of a network process begins: `begin.py MODULE ARGUMENTS…`.

Run as a file, without site-packages (privsep/process.py): so it says where this package is. What
is garbage after all those imports is nothing, and looking for it takes a tenth of their time.
"""

import gc
import os
import sys


def begin(words: list[str]) -> int:
    """Run the `main` of the module that is named first; returns the exit status."""
    gc.disable()
    module = __import__(words[0], fromlist=["main"])
    gc.enable()
    return int(module.main(words))


if __name__ == "__main__":
    here = os.path.abspath(__file__)
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(here))))
    sys.exit(begin(sys.argv[1:]))
