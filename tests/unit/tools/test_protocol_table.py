"""The attribute table of docs/protocol.md."""

from pathlib import Path

import pytest

from tools import protocol_table
from tools.protocol_table import BEGIN, END, main, refresh, table


def a_document(directory: Path, inside: str = "\n") -> Path:
    path = directory / "protocol.md"
    path.write_text(f"before\n{BEGIN}{inside}{END}\nafter\n", encoding="utf-8")
    return path


def test_every_kind_of_value_is_described() -> None:
    rows = table()
    for cell in (
        "| `id` | number 0-4294967295 | 0-1 |",
        "| `ip` | address | 1 |",
        "| `ip` | address[/length] | 0-2 |",
        "| `more` | `1` | 0-1 |",
        "| `errmsg` | text, at most 256 characters | 0-1 |",
        "| `features` | names, at most 32 | 0-1 |",
        "| `dns`, 0-1 | `search` | domain, at most 253 characters | 0-16 |",
        "| `address`, 1-64 |",
        "| `ack=2` |",
    ):
        assert cell in rows


def test_what_is_around_the_table_stays() -> None:
    made = refresh(f"before {BEGIN} old {END} after")
    assert made == f"before {BEGIN}\n\n{table()}\n{END} after"
    assert refresh(made) == made


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, BEGIN + END + END, BEGIN * 2 + END])
def test_a_document_without_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        refresh(text)


def test_a_stale_table_is_reported_and_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_document(tmp_path)
    old = path.read_text(encoding="utf-8")
    assert main(["--check", str(path)]) == 1
    assert "stale" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == old


def test_a_stale_table_is_written_anew(tmp_path: Path) -> None:
    path = a_document(tmp_path)
    assert main([str(path)]) == 0
    assert table() in path.read_text(encoding="utf-8")
    assert main(["--check", str(path)]) == 0
    assert main([str(path)]) == 0


def test_the_repositorys_document_is_the_default() -> None:
    assert protocol_table.DOCUMENT.name == "protocol.md"
    assert main(["--check"]) == 0
