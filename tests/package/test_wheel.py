"""The wheel, installed as a tool in an environment of its own, without the archive."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.repository import ROOT
from wg_dynamic import __version__

COMMANDS = (
    "wg-dynamic",
    "wg-dynamic-client",
    "wg-dynamic-quick",
    "wg-dynamic-server",
    "wg-dynamic-watch",
)
UV = Path(sys.executable).with_name("uv")


def run(command: list[str], **more: str) -> str:
    environment = {**os.environ, **more}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        command, cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (made,) = directory.glob("*.whl")
    return made


def test_uv_installs_it_as_a_tool(wheel: Path, tmp_path: Path) -> None:
    places = {
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_OFFLINE": "1",
        "UV_NO_CONFIG": "1",
    }
    install = [str(UV), "tool", "install", "--python", "/usr/bin/python3", str(wheel)]
    run(install, **places)
    assert {path.name for path in (tmp_path / "bin").iterdir()} == set(COMMANDS)
    for name in COMMANDS:
        version = run([str(tmp_path / "bin" / name), "--version"])
        assert version.startswith(f"{name} {__version__.partition('.dev')[0]}")
    assert "[[pool]]" in run([str(tmp_path / "bin" / "wg-dynamic"), "config", "default"])
    run([str(UV), "tool", "uninstall", "wg-dynamic"], **places)
    assert [*(tmp_path / "bin").iterdir()] == []


def test_a_pipx_like_environment_gets_every_command(wheel: Path, tmp_path: Path) -> None:
    """pipx makes a virtual environment and has pip install into it; so here, by uv's pip."""
    run([str(UV), "venv", "--offline", "--python", "/usr/bin/python3", str(tmp_path / "venv")])
    python = tmp_path / "venv/bin/python"
    run([str(UV), "pip", "install", "--offline", "--python", str(python), str(wheel)])
    for name in COMMANDS:
        assert run([str(python.with_name(name)), "--version"]).startswith(f"{name} ")
