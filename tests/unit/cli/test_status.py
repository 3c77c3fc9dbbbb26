from collections.abc import Callable

import pytest

from wg_dynamic.cli.status import FAILED, NOT_PERMITTED, OK, UNQUALIFIED, USAGE, run, status_of
from wg_dynamic.errors import ConfigError, PrivilegeError, UsageError, WgDynamicError


def test_the_numbers_are_those_of_the_manual() -> None:
    assert [OK, FAILED, USAGE, UNQUALIFIED, NOT_PERMITTED] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("error", "status"),
    [(UsageError, 2), (ConfigError, 3), (PrivilegeError, 4), (WgDynamicError, 1)],
)
def test_an_error_is_one_line_and_its_status(
    error: type[WgDynamicError], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(error("x")) == status
    assert run("wg-x", raising(error("wg0 is no good"))) == status
    assert capsys.readouterr() == ("", "wg-x: wg0 is no good\n")


def test_each_line_of_an_error_says_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("wg-x", raising(UsageError("one\ntwo"))) == 2
    assert capsys.readouterr().err == "wg-x: one\nwg-x: two\n"


def test_an_error_of_the_machine_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("wg-x", raising(OSError(28, "No space left on device"))) == FAILED
    assert capsys.readouterr().err == "wg-x: [Errno 28] No space left on device\n"


def test_ctrl_c_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("wg-x", raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "")


def test_the_command_s_own_status_is_returned() -> None:
    assert run("wg-x", lambda: 7) == 7


def raising(error: BaseException) -> Callable[[], int]:
    def fail() -> int:
        raise error

    return fail
