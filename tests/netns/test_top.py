"""`wg-dynamic top` in a real terminal (tmux), beside a real server."""

from pathlib import Path

from tests.netns.daemons import Client, Server
from tools.netlab import Host, Lab, wait_until
from tools.star import make_star
from wg_dynamic.cli.status import NOT_RUNNING

NOBODY = 65534


class Terminal:
    """One window of tmux, of a server of its own in the host's namespaces."""

    def __init__(self, host: Host, directory: Path, command: str) -> None:
        self._host = host
        self._socket = directory / "tmux"
        script = f"{command}; echo ended with $?; exec sleep 1000"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "30", script)

    def tmux(self, *words: str) -> str:
        return self._host.run(["tmux", "-S", str(self._socket), *words]).stdout

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.screen(), timeout=15.0, what=f"{text!r} on the screen")

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def close(self) -> None:
        self.tmux("kill-server")


def drawer() -> tuple[int, str] | None:
    """User and command of the process that draws."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"wg_dynamic.cli.top_child" in words:
                return (entry.stat().st_uid, (entry / "status").read_text())
    return None


def test_it_shows_what_goes_on_and_is_left_by_q(lab: Lab, database: Path, tmp_path: Path) -> None:
    star = make_star(lab, ["one", "two"])
    server = Server(star.hub, database)
    server.start()
    one, two = (Client(member) for member in star.clients)
    one.start()
    terminal = Terminal(star.hub.host, tmp_path, "wg-dynamic top wg0")
    (address,) = [each for each in one.leased() if "." in each]
    terminal.wait_for(address)
    terminal.wait_for("10.44.0.0/24  ░")
    terminal.wait_for("s ago")  # the handshake
    found = drawer()
    assert found is not None
    assert "CapBnd:\t0000000000000000" in found[1]
    assert f"Uid:\t{NOBODY}" in found[1]
    two.start()
    (other,) = [each for each in two.leased() if "." in each]
    terminal.wait_for(other)
    terminal.wait_for("2 of 25")
    assert "granted" in terminal.screen()
    two.stop()
    server.stop()
    terminal.wait_for("NOT ANSWERING: no wg-dynamic-server runs here")
    server.start()
    wait_until(lambda: "NOT ANSWERING" not in terminal.screen(), timeout=15.0, what="the server")
    terminal.type("q")
    terminal.wait_for("ended with 0")
    assert drawer() is None
    terminal.close()
    one.stop()
    server.stop()


def test_where_no_server_runs_it_says_so(lab: Lab, tmp_path: Path) -> None:
    star = make_star(lab, [])
    terminal = Terminal(star.hub.host, tmp_path, "wg-dynamic top wg0")
    terminal.wait_for("no wg-dynamic-server runs here")
    terminal.wait_for(f"ended with {NOT_RUNNING}")
    terminal.close()
