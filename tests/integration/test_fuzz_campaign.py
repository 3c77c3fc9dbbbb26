"""The fuzzing stage finds a fault that is there, keeps what shows it, and passes what is fine."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.campaign import Run, campaign
from fuzz.coverage_of import parser_coverage
from fuzz.examples import read_examples

TARGET = '''\
"""Parses an address; a planted fault."""
from wg_dynamic.address import parse_prefix

MAX_SIZE = 64
PARSERS = ("address",)

def seeds():
    yield b"10.0.0.0/8"

def words():
    yield b"::"

def check(data):
    try:
        parse_prefix(data.decode("latin-1"))
    except ValueError:
        return
    assert not (FAULT and data.startswith(b"::"))
'''


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two targets of our own beside the real ones, and a place for what is found."""
    targets = tmp_path / "more" / "fuzz" / "targets"
    targets.mkdir(parents=True)
    for name, fault in (("planted_fault", True), ("planted_fine", False)):
        (targets / f"{name}.py").write_text(TARGET.replace("FAULT", str(fault)))
    monkeypatch.syspath_prepend(str(tmp_path / "more"))  # fuzz is a namespace package
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "more"))
    monkeypatch.setattr("fuzz.campaign.CRASHES", tmp_path / "crashes")
    monkeypatch.setattr("fuzz.campaign.CORPUS", tmp_path)
    (tmp_path / "work").mkdir()
    yield tmp_path
    for name in ("planted_fault", "planted_fine"):
        sys.modules.pop(f"fuzz.targets.{name}", None)


def test_a_fault_is_found_and_what_shows_it_is_kept(scene: Path) -> None:
    fault, fine = (Run(name, scene / "work") for name in ("planted_fault", "planted_fine"))
    assert campaign([fault, fine], seconds=3, jobs=2, seed=7) == [fault]
    assert "AssertionError" in fault.fault
    (crash,) = (scene / "crashes").iterdir()
    assert crash.name.startswith("planted_fault-crash-")
    assert crash.read_bytes().startswith(b"::")
    assert isinstance(fine.figures["executions"], int)
    assert fine.figures["executions"] > 0
    fine.keep()
    found = read_examples(scene / "planted_fine.txt")
    assert found
    assert b"10.0.0.0/8" not in found


def test_the_coverage_of_parsers_is_that_of_the_inputs(tmp_path: Path) -> None:
    few, more = tmp_path / "few", tmp_path / "more"
    for directory in (few, more):
        directory.mkdir()
        (directory / "0").write_bytes(b"")
    (more / "1").write_bytes(b"public_key=" + b"0a" * 32 + b"\nallowed_ip=::1/128\nerrno=0\n\n")
    reached = [parser_coverage("uapi", each)["wireguard.uapi_codec"] for each in (few, more)]
    assert 0 < reached[0] < reached[1] < 100
