"""Write what bench.server measured into docs/performance.md and docs/performance.svg.

    python -m bench.report

The text between the two marks of the page is made here; the rest of the page is written by hand.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from bench.machine import RESULTS
from tools.repository import ROOT

PAGE: Final = ROOT / "docs" / "performance.md"
PLOT: Final = ROOT / "docs" / "performance.svg"
BEGIN: Final = "<!-- bench.report writes from here -->"
END: Final = "<!-- to here -->"
CASES: Final = {
    "new": "new lease",
    "renew": "renewal, one connection each",
    "kept": "renewal, kept connection",
}
OURS: Final = "wg-dynamic"
BAR: Final = 16
GAP: Final = 26
LEFT: Final = 130
WIDTH: Final = 520


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]


def throughput(result: Mapping[str, Any]) -> list[str]:
    """Exchanges a second, and ours as a multiple."""
    head = ["Exchanges a second (ours ÷ theirs)", *CASES.values()]
    rows = []
    for name, found in result["per_second"].items():
        ratios = result["ratios"].get(name, {})
        cells = []
        for case in CASES:
            text = f"{found[case]:,.0f}" if case in found else ""
            ratio = f"({ratios[case]:.2f})" if case in ratios else ""
            cells.append(f"{text} {ratio}".strip() or "-")
        rows.append([name, *cells])
    return table(head, rows)


def costs(result: Mapping[str, Any]) -> list[str]:
    """Microseconds of processor time."""
    last = result["rounds"][OURS][-1]
    names = list(last["new"]["microseconds_each"])
    rows = [
        [text, *(f"{last[case]['microseconds_each'][name]:.0f}" for name in names)]
        for case, text in CASES.items()
    ]
    return table(["Processor time of one exchange, µs", *names], rows)


def latency(result: Mapping[str, Any]) -> list[str]:
    """The open loop."""
    rows = [
        [name, share, f"{one['p50_ms']:.1f}", f"{one['p99_ms']:.1f}", one["failed"]]
        for name in (OURS, "Kea")
        for share, one in result["latency"][name].items()
    ]
    return table(["Renewals, open loop", "of capacity", "p50, ms", "p99, ms", "failed"], rows)


def storms(result: Mapping[str, Any]) -> list[str]:
    """Everybody at once."""
    rows = [
        [
            one["server"],
            f"{one['peers']:,}",
            f"{one['seconds']:.1f}",
            one["peers"] - one["held"],
            one["twice"],
            f"{mebibytes(one['resident_before'])} → {mebibytes(one['resident_after'])}",
        ]
        for one in result["storms"]
    ]
    head = ["All at once", "peers", "seconds", "without a lease", "address twice", "memory, MiB"]
    return table(head, rows)


def mebibytes(resident: Mapping[str, int]) -> int:
    """Of the server's processes; wireguard-go would be the kernel's module elsewhere."""
    return sum(size for name, size in resident.items() if name != "wireguard-go") >> 20


def growth(result: Mapping[str, Any]) -> list[str]:
    """More and more leases."""
    rows = [
        [
            f"{one['leases']:,}",
            f"{one['start_seconds']:.1f}",
            f"{one['resident']['network process'] >> 20}",
            f"{one['new']['per_second']:,.0f}",
            f"{one['renew']['per_second']:,.0f}",
        ]
        for one in result["growth"]
    ]
    head = ["Leases there already", "start, s", "network process, MiB"]
    return table([*head, "new leases/s", "renewals/s"], rows)


def rest(result: Mapping[str, Any]) -> list[str]:
    """What is one figure each."""
    fsync = result["latency"]["fsync"]
    lines = [
        f"- A synced append of 4 KiB took {fsync['median_ms']} ms, p99 {fsync['p99_ms']} ms,"
        " in the same run."
    ]
    for name, found in result["idle"].items():
        cores = sum(one["cores"] for key, one in found.items() if key != "wireguard-go")
        lines.append(
            f"- Idle, 10,000 {name}: {cores * 100:.2f} % of a core, readings of the peers included."
        )
    learnt = result["new_peer"]
    lines.append(
        f"- A peer that was added just now, among {learnt['peers']:,}: its lease after"
        f" {', '.join(f'{one:.1f}' for one in learnt['seconds'])} s."
    )
    return lines


def text(result: Mapping[str, Any]) -> str:
    """What stands between the marks."""
    where = (
        f"`{result['command']}`, {result['date'][:10]}, commit {result['commit']},"
        f" {result['processor']}, {result['cores']} cores, load {result['load_average']} before,"
        f" Linux {result['kernel']}, Python {result['python']}."
    )
    parts = [throughput, costs, latency, storms, growth]
    tables = ["\n".join(part(result)) for part in parts]
    picture = "![Exchanges a second, ours and the others'](performance.svg)"
    return "\n\n".join([where, picture, *tables, "\n".join(rest(result))])


def plot(result: Mapping[str, Any]) -> str:
    """Bars of exchanges a second, a group for each case."""
    found = result["per_second"]
    most = max(value for one in found.values() for value in one.values())
    lines: list[str] = []
    height = 10
    for case, title in CASES.items():
        height += GAP
        lines.append(f'<text x="10" y="{height}" font-weight="bold">{escape(title)}</text>')
        height += 8
        for name, one in found.items():
            if case not in one:
                continue
            length = WIDTH * one[case] / most
            colour = "#88171a" if name == OURS else "#8a8f98"
            lines += [
                f'<text x="{LEFT - 8}" y="{height + 12}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{LEFT}" y="{height}" width="{length:.1f}" height="{BAR}" '
                f'fill="{colour}"/>',
                f'<text x="{LEFT + length + 6:.1f}" y="{height + 12}">{one[case]:,.0f}</text>',
            ]
            height += BAR + 4
    size = f'width="{LEFT + WIDTH + 80}" height="{height + 10}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    )
    back = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, back, *lines, "</svg>", ""])


def main() -> int:
    """Write both."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS / "server.json"
    result = json.loads(path.read_text())
    before, _, following = PAGE.read_text().partition(BEGIN)
    _, _, after = following.partition(END)
    if not after:
        msg = f"{PAGE}: the marks {BEGIN!r} and {END!r} are not there"
        raise SystemExit(msg)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text(result)}\n\n{END}{after}")
    PLOT.write_text(plot(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
