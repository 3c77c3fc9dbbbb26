import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.tools import (
    MAX_OUTPUT,
    TRUSTED_PATH,
    ToolError,
    ToolMissingError,
    ToolResult,
    find_tool,
    run_tool,
)


@pytest.fixture
def directory(tmp_path: Path) -> tuple[str, ...]:
    return (str(tmp_path),)


def a_tool(directory: tuple[str, ...], script: str, name: str = "tool") -> None:
    path = Path(directory[0], name)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = SystemClock().now() + 5.0
    while not condition() and SystemClock().now() < deadline:
        os.sched_yield()
    return condition()


def test_a_tool_gets_its_arguments_as_they_are_and_its_text_as_input() -> None:
    said = "a b.$HOME.; id."
    assert run_tool("printf", "%s.", "a b", "$HOME", "; id") == ToolResult(
        "printf %s. a b $HOME ; id", 0, said, said
    )
    assert run_tool("cat", text="nameserver 192.0.2.1\n").check() == "nameserver 192.0.2.1\n"
    assert run_tool("true").check() == ""


def test_a_long_text_reaches_a_tool_and_does_not_wait_for_one_that_does_not_read() -> None:
    text = "x" * (1 << 20)
    assert run_tool("wc", "-c", text=text).check().strip() == str(1 << 20)
    assert run_tool("true", text=text).check() == ""


def test_tools_are_found_in_trusted_directories_alone(
    directory: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_tool(directory, "echo mine", "a-tool-of-mine")
    monkeypatch.setenv("PATH", directory[0])
    assert find_tool("a-tool-of-mine") is None
    assert find_tool("a-tool-of-mine", directory) == f"{directory[0]}/a-tool-of-mine"
    with pytest.raises(ToolMissingError, match="no a-tool-of-mine in /usr/sbin:/usr/bin"):
        run_tool("a-tool-of-mine")
    for trusted in TRUSTED_PATH:
        assert os.path.isabs(trusted)


def test_what_cannot_be_run_is_no_tool(directory: tuple[str, ...]) -> None:
    Path(directory[0], "plain").write_text("#!/bin/sh\n")
    Path(directory[0], "folder").mkdir()
    assert find_tool("plain", directory) is None
    assert find_tool("folder", directory) is None


def test_a_file_that_no_kernel_runs_is_an_error(directory: tuple[str, ...]) -> None:
    path = Path(directory[0], "broken")
    path.write_text("#!/nowhere/interpreter\n")
    path.chmod(0o755)
    with pytest.raises(ToolError, match=r"cannot start .*/broken: No such file"):
        run_tool("broken", path=directory)


def test_without_a_descriptor_left_it_is_an_error_and_nothing_runs_on(
    directory: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    a_tool(directory, f"echo $$ >{tmp_path}/pid; exec sleep 60")
    monkeypatch.setattr(os, "pidfd_open", none_left)
    with pytest.raises(ToolError, match=r"cannot wait for .*/tool: Too many open files"):
        run_tool("tool", path=directory)
    pid = tmp_path / "pid"
    assert not pid.exists() or not pid.read_text() or not is_running(int(pid.read_text()))
    monkeypatch.setattr(os, "memfd_create", none_left)
    with pytest.raises(ToolError, match=r"cannot start .*/tool: Too many open files"):
        run_tool("tool", path=directory)


def test_a_tool_inherits_nothing_of_ours(
    directory: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("BASH_ENV", "/nowhere")
    names = {line.partition("=")[0] for line in run_tool("env").check().splitlines()}
    assert names == {"PATH", "LC_ALL", "HOME"}
    old = os.umask(0o077)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        a_tool(directory, f"pwd; ls /proc/self/fd | wc -w; : >{tmp_path}/made")
        where, descriptors = run_tool("tool", path=directory).check().split()
    finally:
        os.umask(old)
        os.close(descriptor)
    assert where == "/"
    assert int(descriptors) == 4  # three, and the one with which ls reads the directory
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o644


def test_a_failure_says_so_in_the_tools_own_words_made_printable(
    directory: tuple[str, ...],
) -> None:
    a_tool(directory, r"echo said; printf 'no \033[31mway\n  at all \377\n' >&2; exit 3")
    result = run_tool("tool", path=directory)
    assert (result.status, result.output) == (3, "said\n")
    with pytest.raises(ToolError, match=r"^tool -a wg0 ended with status 3: no \?\[31mway at all"):
        run_tool("tool", "-a", "wg0", path=directory).check()
    a_tool(directory, "echo said on output; exit 1")
    with pytest.raises(ToolError, match=r"status 1: said on output$"):
        run_tool("tool", path=directory).check()
    a_tool(directory, "kill -ABRT $$")
    with pytest.raises(ToolError, match=r"^tool ended with signal 6$"):
        run_tool("tool", path=directory).check()


def test_of_what_a_tool_prints_a_bounded_part_is_kept(directory: tuple[str, ...]) -> None:
    for size in (MAX_OUTPUT, MAX_OUTPUT + 1, 1 << 22):
        a_tool(directory, f"head -c {size} /dev/zero; head -c {size} /dev/zero >&2")
        result = run_tool("tool", path=directory)
        assert result.status == 0
        assert len(result.output) == MAX_OUTPUT
        assert set(result.words) == {"?"}


def test_a_tool_that_takes_too_long_is_ended_with_its_children(
    directory: tuple[str, ...], tmp_path: Path
) -> None:
    a_tool(directory, f"sleep 60 & echo $! >{tmp_path}/child; echo waiting; wait")
    with pytest.raises(ToolError, match=r"did not end within 0.1 s and was ended; it said: wait"):
        run_tool("tool", path=directory, time_limit=0.1)
    child = int((tmp_path / "child").read_text())
    assert wait_for(lambda: not is_running(child))  # the signal is sent, the end comes after it


def test_a_tool_that_takes_too_long_may_put_its_things_in_order(
    directory: tuple[str, ...], tmp_path: Path
) -> None:
    a_tool(
        directory, f"trap 'echo done >{tmp_path}/order; exit' TERM; while :; do sleep 0.01; done"
    )
    with pytest.raises(ToolError, match="did not end"):
        run_tool("tool", path=directory, time_limit=0.1)
    assert (tmp_path / "order").read_text() == "done\n"


def test_a_child_that_stays_in_the_background_is_not_waited_for(
    directory: tuple[str, ...], tmp_path: Path
) -> None:
    a_tool(directory, f"sleep 5 & echo $! >{tmp_path}/child; echo started")
    assert run_tool("tool", path=directory, time_limit=4.0).output == "started\n"
    child = int((tmp_path / "child").read_text())
    assert is_running(child)
    os.kill(child, 9)
