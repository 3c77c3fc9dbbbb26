"""The screen of `wg-dynamic top`, by textual. What stands on it is top_view.py's."""

import asyncio
import os
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Footer, Static

from wg_dynamic.admin.protocol import AdminError, decode_object
from wg_dynamic.cli.command import top_view

BAR: Final = 24
FULL_SHARE: Final = 0.95
HIGH_SHARE: Final = 0.8
MAX_LINE: Final = 1 << 22
"""Bytes of one reading."""
_CHUNK: Final = 1 << 16


class Top(App[None]):
    """Pools, leases and events of one server."""

    TITLE = "wg-dynamic"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("p", "pause", "Pause"),
    ]
    CSS = """
    #head { background: $primary; color: $text; padding: 0 1; text-style: bold; height: 1; }
    #pools, #leases, #events { border: round $primary; border-title-color: $text; }
    #pools { padding: 0 1; height: auto; max-height: 40%; }
    #leases { width: 5fr; }
    #events { width: 3fr; padding: 0 1; }
    """

    def __init__(self, pipe: int) -> None:
        """`pipe`: where readings come from."""
        super().__init__()
        self._pipe = pipe
        self._buffer = bytearray()
        self._paused = False
        self.reading: dict[str, Any] = {}
        """The last one."""

    def compose(self) -> ComposeResult:
        """See App."""
        yield Static("asking the server", id="head", markup=False)
        with Vertical():
            yield Static(id="pools")
            with Horizontal():
                yield DataTable(id="leases", cursor_type="row", zebra_stripes=True)
                yield Static(id="events", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """See App."""
        self.query_one("#pools").border_title = "Pools"
        self.query_one("#leases").border_title = "Leases"
        self.query_one("#events").border_title = "Events"
        self.query_one(DataTable).add_columns(*top_view.HEADINGS)
        os.set_blocking(self._pipe, False)
        asyncio.get_running_loop().add_reader(self._pipe, self._read_pipe)

    def action_pause(self) -> None:
        """Let the screen stand still, or not any more."""
        self._paused = not self._paused
        self.query_one("#leases").border_subtitle = "paused" if self._paused else ""
        if not self._paused:
            self.show()

    def _read_pipe(self) -> None:
        try:
            data = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return
        *lines, rest = bytes(self._buffer + data).split(b"\n")
        self._buffer[:] = rest
        if not data or len(rest) > MAX_LINE:
            asyncio.get_running_loop().remove_reader(self._pipe)
            self.exit()
        elif lines:
            self._take(lines[-1])

    def _take(self, line: bytes) -> None:
        try:
            self.reading = decode_object(line)
        except AdminError:
            return
        if not self._paused:
            self.show()

    def show(self) -> None:
        """Draw the last reading."""
        self.query_one("#head", Static).update(top_view.headline(self.reading))
        self.query_one("#pools", Static).update(_pools(top_view.pools(self.reading, BAR)))
        self.query_one("#events", Static).update("\n".join(top_view.events(self.reading)))
        table = self.query_one(DataTable)
        row, top = table.cursor_row, table.scroll_y
        table.clear()
        for cells in top_view.leases(self.reading):
            table.add_row(*(Text(cell) for cell in cells))
        table.move_cursor(row=row, animate=False)
        table.scroll_to(y=top, animate=False)
        more = self.reading.get("more")
        table.border_title = f"Leases ({more} more)" if more else "Leases"


def _pools(lines: list[top_view.PoolLine]) -> Text:
    """Bars in the colour of how full they are."""
    text = Text()
    width = max((len(line.network) for line in lines), default=0)
    for number, line in enumerate(lines):
        high = "yellow" if line.share >= HIGH_SHARE else "green"
        text.append("\n" if number else "")
        text.append(f"{line.network:{width}}  ")
        text.append(line.bar, "red" if line.share >= FULL_SHARE else high)
        text.append(f" {line.text}")
    return text
