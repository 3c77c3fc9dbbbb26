"""`make demo` shows what it says, and leaves nothing behind, whenever it is stopped."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.netlab import wait_until
from tools.repository import ROOT

STEPS = 10
HIDDEN = ("/var/lib/wg-dynamic", "/etc/wireguard/wg0.conf", "/var/log/wg-dynamic-server.log")


@contextmanager
def demo(tmp_path: Path, *, code: str = "") -> Iterator["subprocess.Popen[str]"]:
    """A demo that runs; its temporary files go to tmp_path/tmp, what it prints to tmp_path/out."""
    (tmp_path / "tmp").mkdir(exist_ok=True)
    call = ["-c", f"from tools import demo\n{code}\nraise SystemExit(demo.main())"]
    with (
        (tmp_path / "out").open("w") as out,
        subprocess.Popen(
            [sys.executable, *call],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def run(tmp_path: Path, *, code: str = "") -> tuple[int, str]:
    there = [path for path in HIDDEN if Path(path).exists()]
    with demo(tmp_path, code=code) as process:
        process.wait(60)
    assert [path for path in HIDDEN if Path(path).exists()] == there
    assert not [*(tmp_path / "tmp").iterdir()]
    return process.returncode, (tmp_path / "out").read_text()


class Namespaces:
    """Those of the children of a process, held open so that no others can look like them."""

    def __init__(self, pid: int) -> None:
        self._held = []
        own = os.stat("/proc/self/ns/net")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            try:
                fd = os.open(f"/proc/{child}/ns/net", os.O_RDONLY)
            except FileNotFoundError:
                continue
            if os.path.samestat(os.fstat(fd), own):
                os.close(fd)
            else:
                self._held.append(fd)

    def __len__(self) -> int:
        return len(self._held)

    def programs(self) -> list[str]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                space = os.stat(entry / "ns/net")
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if command and any(os.path.samestat(space, os.fstat(fd)) for fd in self._held):
                found.append(command)
        return found

    def close(self) -> None:
        while self._held:
            os.close(self._held.pop())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a demo prints that nobody disturbs."""
    status, printed = run(tmp_path_factory.mktemp("whole"))
    assert status == 0, printed
    return printed


def test_every_step_is_seen_to_work(whole: str) -> None:
    assert re.findall(r"^(\d+)\. ", whole, re.M) == [str(n) for n in range(1, STEPS + 1)]
    assert f"All {STEPS} steps were seen to work" in whole
    assert "✗" not in whole
    assert "\x1b" not in whole, "colours in a file"
    assert whole.count("PrivateKey = ") == whole.count("PrivateKey = (hidden)") == 3
    for told in [
        r"laptop has 10\.44\.0\.\d+ and fd00:44::[0-9a-f:]+: \d+ ms",
        r"phone has 10\.44\.0\.\d+ and fd00:44::[0-9a-f:]+: \d+ ms",
        r"allowed ips: fe80::1/128, 10\.44\.0\.\d+/32, fd00:44::[0-9a-f:]+/128",
        r"64 bytes from laptop\.wg \(fd00:44::[0-9a-f:]+\): icmp_seq=1",
        r"64 bytes from fd00:44::[0-9a-f:]+: icmp_seq=1",
        r"event=renewed address=10\.44\.0\.\d+ name=laptop public_key=",
        r"held +peer\(.{9}\) 10\.44\.0\.\d+, \d+ s left",
    ]:
        assert re.search(told, whole), told


def test_the_picture_is_of_this_demo(whole: str) -> None:
    """Headings and commands in docs/demo.svg are those of today: else draw it anew."""
    picture = (ROOT / "docs/demo.svg").read_text(encoding="utf-8")
    drawn = set(re.findall(r">(\d+\. [^<]+)</text>", picture))
    assert drawn
    for heading in drawn:
        assert heading.replace("&amp;", "&") in whole.splitlines()
    assert f"All {STEPS} steps" in picture


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("cat /etc/wireguard/wg0.conf", signal.SIGTERM),
        ("hub# wg-quick up wg0", signal.SIGINT),
        ("hub# wg-dynamic-server", signal.SIGTERM),
        ("laptop# wg-quick up wg0", signal.SIGINT),
        ("laptop has", signal.SIGHUP),
        ("laptop# ip link set wg0 down", signal.SIGTERM),
        ("laptop# wg-quick down wg0", signal.SIGINT),
        ("kill -KILL", signal.SIGTERM),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_it_can_be_stopped_at_any_moment(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    with demo(tmp_path) as process:
        wait_until(lambda: moment in (tmp_path / "out").read_text(), timeout=20, what=moment)
        namespaces = Namespaces(process.pid)
        assert len(namespaces) >= 3  # hub, laptop, phone; and the wire between them
        process.send_signal(number)
        status = process.wait(20)
        left = namespaces.programs()
        namespaces.close()
    printed = (tmp_path / "out").read_text()
    if f"All {STEPS} steps" not in printed:  # else the signal came too late: the machine is busy
        assert status == 128 + number, printed
        assert f"{number.name}: stopped; what was made is removed" in printed
    assert left == []
    assert not [*(tmp_path / "tmp").iterdir()]


def test_a_step_that_fails_says_what_was_seen_and_shows_the_logs(tmp_path: Path) -> None:
    collides = "demo.SERVER = demo.SERVER.replace('10.44.0.0/24', '10.99.0.0/24')"
    status, printed = run(tmp_path, code=collides)
    assert status == 1
    assert "✗ The hub" in printed
    assert "expected: status 0 of 'wg-dynamic-server wg0" in printed
    assert "pool 10.99.0.0/24 collides with the route to 10.99.0.0/16" in printed
    assert "--- hub: /var/log/wg-dynamic-server.log" in printed
    assert "step 1 failed; what was made is removed" in printed


def test_a_reader_that_leaves_ends_it(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "tools.demo"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert not [*(tmp_path / "tmp").iterdir()]


def test_without_root_it_says_so(tmp_path: Path) -> None:
    status, printed = run(tmp_path, code="import os; os.geteuid = lambda: 1000")
    assert status == 1
    assert "a lab needs root" in printed
