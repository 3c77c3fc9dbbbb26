from pathlib import Path

import pytest

from wg_dynamic.system.sysctl import Sysctl, SysctlError

NAME = "net.ipv4.conf.all.src_valid_mark"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path.joinpath(*NAME.split("."))
    path.parent.mkdir(parents=True)
    path.write_text("0\n")
    return tmp_path


def test_a_variable_is_read_and_set(root: Path) -> None:
    sysctl = Sysctl(root)
    assert sysctl.read(NAME) == "0"
    sysctl.write(NAME, "1")
    assert sysctl.read(NAME) == "1"
    assert root.joinpath(*NAME.split(".")).read_text() == "1\n"


def test_one_that_is_not_there_says_so(root: Path) -> None:
    sysctl = Sysctl(root)
    with pytest.raises(SysctlError, match=r"^cannot read net\.absent: No such file"):
        sysctl.read("net.absent")
    with pytest.raises(SysctlError, match=r"^cannot set net\.absent\.x to 1: No such file"):
        sysctl.write("net.absent.x", "1")


def test_the_machines_own_is_found() -> None:
    assert Sysctl().read("kernel.ostype") == "Linux"
