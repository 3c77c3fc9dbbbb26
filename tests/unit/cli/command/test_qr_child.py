"""As root it draws in tests/netns/test_peer_command.py; here it is run as nobody in particular."""

import importlib.util
import io
import sys

import pytest

from wg_dynamic.cli.command import qr_child
from wg_dynamic.cli.command.qr_child import MISSING, drawn, main
from wg_dynamic.errors import PrivilegeError


class Streams:
    def __init__(self, text: bytes = b"") -> None:
        self.buffer = io.BytesIO(text)
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """To whom privileges were dropped; segno is forgotten until then."""
    monkeypatch.delitem(sys.modules, "segno", raising=False)
    assert importlib.util.find_spec("segno")
    done: list[object] = []

    def drop(account: object) -> list[str]:
        assert not sys.modules.get("segno")
        done.append(account)
        return []

    monkeypatch.setattr(qr_child, "drop_privileges", drop)
    return done


def run(monkeypatch: pytest.MonkeyPatch, text: bytes) -> tuple[int, str, str]:
    out, err = Streams(), Streams()
    monkeypatch.setattr(sys, "stdin", Streams(text))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    return main(), out.buffer.getvalue().decode(), err.text


def test_it_is_nobody_before_it_has_segno(
    monkeypatch: pytest.MonkeyPatch, dropped: list[object]
) -> None:
    status, out, err = run(monkeypatch, b"hello")
    assert (status, err) == (0, "")
    assert dropped == [qr_child.NOBODY]
    assert (qr_child.NOBODY.uid, qr_child.NOBODY.gid) == (65534, 65534)
    lines = out.split("\n")
    assert len(lines) == 14  # 21 modules and a border of 2, two rows to a line
    assert {len(line) for line in lines[:-1]} == {25}


def test_who_remains_root_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> list[str]:
        msg = "root can be regained"
        raise PrivilegeError(msg)

    monkeypatch.setattr(qr_child, "drop_privileges", refuse)
    assert run(monkeypatch, b"hello") == (1, "", "root can be regained\n")


def test_without_segno_it_says_so(monkeypatch: pytest.MonkeyPatch, dropped: list[object]) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    assert run(monkeypatch, b"hello") == (MISSING, "", "")


def test_what_fits_into_no_code_is_told(
    monkeypatch: pytest.MonkeyPatch, dropped: list[object]
) -> None:
    status, out, err = run(monkeypatch, b"x" * 8000)
    assert (status, out) == (1, "")
    assert "Data too large" in err
    assert dropped


def test_two_rows_are_drawn_as_one_line() -> None:
    assert drawn([[0, 0, 1, 1], [0, 1, 0, 1]]) == "█▀▄ \n"
    assert drawn([[1, 0]]) == "▄█\n"
