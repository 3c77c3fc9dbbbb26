"""One target under libFuzzer, with `wg_dynamic` instrumented (atheris).

    python -m fuzz.driver TARGET [libFuzzer's options and directories]

`python -m fuzz.campaign` runs all of them, with corpus and dictionary.
"""

import logging
import shlex
import sys

import atheris

from fuzz.target import load


def main() -> None:
    """Fuzz until told to stop, or until something is wrong."""
    name = sys.argv[1]
    logging.disable()  # what a parser says in the log of each of a million inputs
    with atheris.instrument_imports(include=["wg_dynamic"]):
        target = load(name)
    # libFuzzer starts itself again for a merge: by a shell, and by what it takes for its own name.
    itself = f"{shlex.quote(sys.executable)} -m fuzz.driver {name}"
    atheris.Setup([itself, *sys.argv[2:]], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
