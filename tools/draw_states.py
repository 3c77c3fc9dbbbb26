"""Draw docs/states.md, the client's states, from the table in client/machine.py.

Usage: python -m tools.draw_states [--check] [FILE]
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.repository import ROOT
from wg_dynamic.client.machine import TRANSITIONS, Event, State

DOCUMENT: Final = ROOT / "docs" / "states.md"
Transitions = Mapping[tuple[State, type[Event]], State]

HEAD: Final = """\
# The states of a client

Made by `tools/draw_states.py` from the table in `src/wg_dynamic/client/machine.py`: change it
there. What each state means, and what is done on the way, stands there too.

RENEWING and BOUND have a lease. Where an arrow leads to RENEWING and the lease has run out, was
lost or never was, the client goes on in REQUESTING.

"""


def drawing(transitions: Transitions = TRANSITIONS) -> str:
    """The whole document."""
    lines = [*_diagram(transitions), "", *_table(transitions)]
    return HEAD + "\n".join(lines) + "\n"


def _diagram(transitions: Transitions) -> Iterator[str]:
    """One arrow for each pair of states; what leads nowhere else is left to the table."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, event), target in transitions.items():
        if state is not target:
            arrows.setdefault((state, target), []).append(event.__name__)
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {State.REQUESTING.name}"
    for (state, target), events in arrows.items():
        yield f"    {state.name} --> {target.name}: {', '.join(events)}"
    yield f"    {State.STOPPED.name} --> [*]"
    yield "```"


def _table(transitions: Transitions) -> Iterator[str]:
    """A row for each event, a column for each state; empty: cannot happen."""
    states = [state for state in State if any(state is source for source, _ in transitions)]
    events = list(dict.fromkeys(event for _, event in transitions))
    yield "| | " + " | ".join(f"in {state.name}" for state in states) + " |"
    yield "|---" * (len(states) + 1) + "|"
    for event in events:
        targets = [transitions.get((state, event)) for state in states]
        cells = [target.name if target else "" for target in targets]
        yield f"| {event.__name__} | " + " | ".join(cells) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0, or 1 when `--check` finds the drawing stale."""
    parser = argparse.ArgumentParser(description="drawing of the client's states")
    parser.add_argument("--check", action="store_true", help="exit 1 when stale, write nothing")
    parser.add_argument("file", nargs="?", type=Path, default=DOCUMENT)
    options = parser.parse_args(arguments)
    new = drawing()
    if not options.check:
        options.file.write_text(new, encoding="utf-8")
        return 0
    if not options.file.exists() or options.file.read_text(encoding="utf-8") != new:
        print(f"{options.file}: stale, run python -m tools.draw_states", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
