import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.guest import DIED, TIMED_OUT, Outcome, Progress, environment, main, watch

Ports = dict[str, socket.socket]


def reported(*pieces: bytes) -> Progress:
    progress = Progress()
    for now, piece in enumerate(pieces):
        progress.take(piece, float(now))
    return progress


def test_the_status_is_the_one_that_the_guest_reported() -> None:
    assert reported(b"started\n", b"ended 3\n").outcome(alive=False) == Outcome(3)


def test_how_a_report_is_cut_changes_nothing() -> None:
    assert reported(b"star", b"ted\ne", b"nded 0", b"\n").outcome(alive=False) == Outcome(0)


@pytest.mark.parametrize(
    "report",
    [b"", b"ended 0", b"ended\n", b"ended zero\n", b"ended -1\n", b"0\n", b"started ended 0\n"],
)
def test_without_the_whole_line_at_the_end_the_guest_has_died(report: bytes) -> None:
    progress = reported(b"started\n", report)
    assert progress.outcome(alive=False) == Outcome(DIED, "the guest died while the command ran")


def test_an_end_without_a_start_proves_nothing() -> None:
    progress = reported(b"ended 0\n")
    assert progress.outcome(alive=False) == Outcome(DIED, "the guest died before the command ran")


def test_the_time_being_up_is_told_from_dying() -> None:
    assert reported().outcome(alive=True) == Outcome(
        TIMED_OUT, "the time was up before the command ran"
    )
    assert reported(b"started\n").outcome(alive=True) == Outcome(
        TIMED_OUT, "the time was up while the command ran"
    )


def test_a_guest_that_ended_its_command_but_does_not_power_off_has_passed() -> None:
    assert reported(b"started\n", b"ended 0\n").outcome(alive=True) == Outcome(0)


def test_start_command_and_end_have_each_their_own_time() -> None:
    assert reported().deadline(-5.0, timeout=1000.0) == -5.0 + 180.0
    assert reported(b"", b"started\n").deadline(-5.0, timeout=1000.0) == 1.0 + 1000.0
    assert reported(b"started\n", b"", b"ended 0\n").deadline(-5.0, timeout=1000.0) == 2.0 + 10.0


@pytest.fixture
def ports() -> Iterator[tuple[Ports, Ports]]:
    pairs = {name: socket.socketpair() for name in ("out", "err", "status")}
    yield (
        {name: pair[0] for name, pair in pairs.items()},
        {name: pair[1] for name, pair in pairs.items()},
    )
    for pair in pairs.values():
        for end in pair:
            end.close()


def close(ends: Ports) -> None:
    for end in ends.values():
        end.close()


def test_output_is_passed_on_whole_and_apart_even_behind_the_status(
    ports: tuple[Ports, Ports],
) -> None:
    ours, theirs = ports
    written = {"out": b"", "err": b""}

    def guest() -> None:
        theirs["status"].sendall(b"started\nended 0\n")
        for number in range(300):
            theirs["out"].sendall(bytes([number & 255]) * 1000)
            theirs["err"].sendall(b"e")
        close(theirs)

    def write(name: str, data: bytes) -> None:
        written[name] += data

    thread = threading.Thread(target=guest)
    thread.start()
    outcome = watch(ours, 10.0, write)
    thread.join()
    assert outcome == Outcome(0)
    assert written["out"] == b"".join(bytes([number & 255]) * 1000 for number in range(300))
    assert written["err"] == b"e" * 300


def test_a_guest_of_which_nothing_comes_is_given_up(ports: tuple[Ports, Ports]) -> None:
    ours, _ = ports
    times = iter([0.0, 180.0])
    assert watch(ours, 5.0, lambda _name, _data: None, lambda: next(times)).status == TIMED_OUT


def test_a_guest_that_is_gone_without_a_word_has_died(ports: tuple[Ports, Ports]) -> None:
    ours, theirs = ports
    close(theirs)
    assert watch(ours, 5.0, lambda _name, _data: None).status == DIED


def test_the_environment_is_what_is_named_and_our_own_settings() -> None:
    ours = {"WG_DYNAMIC_REQUIRE_ALL": "1", "CI": "true", "SECRET": "x", "HOME": "/home/me"}
    got = environment(["CI", "COLOUR=a=b", "ABSENT", "HOME=/var"], "newest", ours)
    path = got.pop("PATH")
    assert path.endswith("/sbin:/bin")
    assert got == {
        "HOME": "/var",
        "LANG": "C.UTF-8",
        "CI": "true",
        "COLOUR": "a=b",
        "WG_DYNAMIC_REQUIRE_ALL": "1",
        "WG_DYNAMIC_GUEST": "newest",
    }


@pytest.mark.parametrize("arguments", [[], ["--kernel", "5.10", "--", "true"]])
def test_wrong_arguments_end_before_anything_is_started(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "usage" in capsys.readouterr().err


def test_the_console_of_a_machine_that_does_not_start_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = tmp_path / "linux"
    kernel.write_text("#!/bin/sh\necho no memory\nexit 0\n")
    kernel.chmod(0o755)
    assert main(["--uml", str(kernel), "--timeout", "10", "--", "true"]) == DIED
    shown = capsys.readouterr().err
    assert "console: no memory\n" in shown
    assert "the guest died before the command ran" in shown
