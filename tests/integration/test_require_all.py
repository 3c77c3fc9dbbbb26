"""A gate that can be skipped is none: WG_DYNAMIC_REQUIRE_ALL=1 turns skips into failures."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = """
import pytest

def test_passes(): pass

def test_skips(): pytest.skip("no kernel module")

@pytest.mark.skipif(True, reason="no root")
def test_is_marked(): raise AssertionError

@pytest.mark.xfail(reason="bug 7")
def test_is_expected_to_fail(): raise AssertionError

@pytest.fixture
def absent(): pytest.skip("no wireguard-go")

def test_has_a_fixture_that_skips(absent): pass
"""


def run_pytest(directory: Path, require_all: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", str(directory)],
        cwd=directory,
        env={
            **os.environ,
            "WG_DYNAMIC_REQUIRE_ALL": require_all,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # none is needed, each takes its time
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite of its own under the conftest of this one."""
    shutil.copy(Path(__file__).parents[1] / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_x')\n")
    return tmp_path


def test_a_skip_of_any_kind_fails_when_all_is_required(suite: Path) -> None:
    done = run_pytest(suite, "1")
    assert done.returncode == 2, done.stdout  # a module that cannot even be collected
    assert "1 error in" in done.stdout
    (suite / "test_module.py").unlink()
    done = run_pytest(suite, "1")
    assert done.returncode == 1, done.stdout
    assert "2 failed, 1 passed, 2 errors" in done.stdout
    for reason in ["no kernel module", "no root", "expected to fail: bug 7", "no wireguard-go"]:
        assert reason in done.stdout


def test_without_the_requirement_skips_are_skips(suite: Path) -> None:
    done = run_pytest(suite, "")
    assert done.returncode == 0, done.stdout
    assert "1 passed, 4 skipped, 1 xfailed" in done.stdout
