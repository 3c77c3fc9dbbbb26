"""Who draws: nobody, and only where there is something to draw with."""

import builtins
from typing import Any

import pytest

from wg_dynamic.cli import top_app, top_child
from wg_dynamic.cli.command.top_view import MISSING
from wg_dynamic.errors import PrivilegeError


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    found: list[object] = []

    class Screen:
        def __init__(self, pipe: int) -> None:
            found.append(pipe)

        def run(self) -> None:
            found.append("run")

    monkeypatch.setattr(top_app, "Top", Screen)
    monkeypatch.setattr(top_child, "drop_privileges", found.append)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return found


def test_root_becomes_nobody_before_anything_is_drawn(done: list[object]) -> None:
    assert top_child.main(["7"]) == 0
    assert done == [top_child.NOBODY, 7, "run"]


def test_a_user_stays_who_they_are(done: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert top_child.main(["7"]) == 0
    assert done == [7, "run"]


def test_root_that_cannot_become_nobody_draws_nothing(
    done: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def drop(_: object) -> None:
        msg = "no"
        raise PrivilegeError(msg)

    monkeypatch.setattr(top_child, "drop_privileges", drop)
    assert top_child.main(["7"]) == 1
    assert capsys.readouterr().err == "no\n"
    assert done == []


@pytest.mark.parametrize("missing", ["textual", "wg_dynamic.cli.command.top_view"])
def test_without_textual_it_says_so_and_a_bug_of_ours_is_one(
    done: list[object], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "wg_dynamic.cli.top_app":
            raise ImportError(name=missing)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    if missing == "textual":
        assert top_child.main(["7"]) == MISSING
    else:
        with pytest.raises(ImportError):
            top_child.main(["7"])
    assert done == [top_child.NOBODY]
