import signal
import subprocess
from pathlib import Path

import pytest

from tools.processes import (
    PATIENCE,
    CommandError,
    LabError,
    Program,
    end_all,
    environment,
    wait_until,
)


def start(tmp_path: Path, script: str) -> Program:
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            ["sh", "-c", script], stdout=stream, stderr=stream, text=True, env=environment()
        )
    return Program(process, log)


def test_waiting_ends_when_the_condition_holds_and_complains_when_it_does_not() -> None:
    answers = iter([False, False, True])
    wait_until(lambda: next(answers))
    with pytest.raises(LabError, match=f"the lease did not come true within {0.01 * PATIENCE:g} s"):
        wait_until(lambda: False, timeout=0.01, what="the lease")


def test_a_program_that_does_not_obey_sigterm_is_killed(tmp_path: Path) -> None:
    program = start(tmp_path, "trap '' TERM; echo deaf; while :; do sleep 0.01; done")
    program.wait_for_output("deaf")
    assert program.stop(timeout=0.05) == -signal.SIGKILL
    assert not program.is_running()


def test_all_programs_end_within_one_and_the_same_time(tmp_path: Path) -> None:
    deaf = [start(tmp_path, "trap '' TERM; while :; do sleep 0.01; done") for _ in range(2)]
    end_all([program.process for program in deaf], 0.02)
    assert [program.wait() for program in deaf] == [-signal.SIGKILL] * 2


def test_waiting_too_long_shows_what_the_program_printed(tmp_path: Path) -> None:
    program = start(tmp_path, "echo stuck; exec sleep 60")
    program.wait_for_output("stuck")
    with pytest.raises(LabError, match=rf"(?s)runs on after {0.01 * PATIENCE:g} s:\nstuck"):
        program.wait(timeout=0.01)
    program.send_signal(signal.SIGTERM)
    assert program.wait() == -signal.SIGTERM


def test_the_environment_is_made_anew_but_for_what_measures_coverage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WG_DYNAMIC_X", "1")
    monkeypatch.setenv("COVERAGE_FILE", "/x")
    made = environment({"Y": "2"})
    assert "WG_DYNAMIC_X" not in made
    assert made["COVERAGE_FILE"] == "/x"
    assert made["Y"] == "2"


def test_a_failed_command_is_described() -> None:
    done = subprocess.CompletedProcess(["ip", "link"], 2, stdout="out\n", stderr="err\n")
    assert str(CommandError("hub", done)) == "hub: 'ip link' ended with 2, expected 0\nout\nerr\n"
