"""What is a usual start, and that the network process is on its way before anything else."""

import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_dynamic.cli import client_start as module
from wg_dynamic.cli.client import make_parser
from wg_dynamic.cli.client_start import main, start, usual
from wg_dynamic.helper.client import ClientHelper
from wg_dynamic.helper.config.file import default_path
from wg_dynamic.helper.policy import Acceptance
from wg_dynamic.system.background import Verdict
from wg_dynamic.system.privileges import Account

WORDS = ["wg0", "-", "", "--foreground", "--verbose", "--stop", "--fore", "--wait", "--", "a/b"]


@pytest.fixture(autouse=True)
def with_garbage() -> Iterator[None]:
    yield
    gc.enable()


@given(st.lists(st.sampled_from(WORDS), max_size=4))
def test_a_usual_command_line_means_what_the_parser_says(words: list[str]) -> None:
    found = usual(words)
    if found is not None:
        assert vars(found) == vars(make_parser().parse_args(words))


@pytest.mark.parametrize(
    "words", [["wg0"], ["--foreground", "wg0"], ["wg0", "--verbose", "--foreground"]]
)
def test_the_usual_ones_are_an_interface_and_flags(words: list[str]) -> None:
    assert usual(words) is not None


@pytest.mark.parametrize("words", [[], ["wg0", "wg1"], ["--stop", "wg0"], ["--help"], ["-x"], [""]])
def test_all_others_are_for_the_parser(words: list[str]) -> None:
    assert usual(words) is None


def test_a_configuration_file_is_read_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(default_path("wg0")) == module.CONFIG.format("wg0")
    monkeypatch.setattr(module, "CONFIG", f"{tmp_path}/{{}}.toml")
    (tmp_path / "wg0.toml").symlink_to("nowhere")
    assert usual(["wg0"]) is None
    assert usual(["wg1"]) is not None


def test_what_is_not_usual_goes_to_the_parser(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("wg-dynamic-client ")
    assert gc.isenabled()


def test_only_root_may(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert main(["wg0"]) == 4
    assert "wg-dynamic-client runs as user 65534, expected root" in capsys.readouterr().err


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What is done, in order."""
    done: list[object] = []
    pair = socket.socketpair()

    def start_process(*arguments: object) -> tuple[object, socket.socket]:
        done.append(arguments)
        return "process", pair[0]

    def keep(arguments: Any, accepts: Acceptance | None, _: Verdict, **more: Any) -> int:
        started = more["started"][0], more["started"][1].fileno() >= 0
        done.append((arguments.interface, accepts, started, gc.isenabled()))
        return 7

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "umask", lambda: done.append("umask"))
    monkeypatch.setattr(module, "confine_helper", lambda: done.append("confine"))
    monkeypatch.setattr(module, "service_account", lambda _: Account(1, 2))
    monkeypatch.setattr(module, "start_process", start_process)
    monkeypatch.setattr("wg_dynamic.cli.client_keep.keep", keep)
    monkeypatch.setattr(module, "CONFIG", "/no/such/directory/{}")
    with pair[0], pair[1]:
        yield done


def test_the_network_process_is_started_by_a_confined_helper_before_all_else(
    order: list[object],
) -> None:
    assert main(["--foreground", "wg0"]) == 7
    network = (ClientHelper.module, Account(1, 2), ["stderr", "quiet"])
    assert order == ["umask", "confine", network, ("wg0", None, ("process", True), True)]


def test_what_is_taken_is_passed_on(order: list[object]) -> None:
    accepts = Acceptance(default_route=True)
    assert start(usual(["--foreground", "wg0"]), accepts) == 7
    assert order[-1] == ("wg0", accepts, ("process", True), True)


def test_in_the_background_the_first_lease_is_waited_for(
    order: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def run_daemon(*arguments: Any) -> int:
        program, _, daemon, wait, away = arguments
        seen.extend((program, wait, away))
        return int(daemon(Verdict(None), "syslog"))

    monkeypatch.setattr(module, "run_daemon", run_daemon)
    assert main(["wg0"]) == 7
    away = "wg0: no lease yet after 5 s, going on in the background"
    assert seen == ["wg-dynamic-client", 5.0, away]
