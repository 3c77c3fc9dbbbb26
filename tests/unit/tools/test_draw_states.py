"""The drawing of the client's states."""

from pathlib import Path

import pytest

from tools import draw_states
from tools.draw_states import Transitions, drawing, main
from wg_dynamic.client.machine import TRANSITIONS, LinkDown, Started, State


def test_every_pair_of_the_table_is_drawn() -> None:
    lines = drawing().splitlines()
    for (state, event), target in TRANSITIONS.items():
        (row,) = [line for line in lines if line.startswith(f"| {event.__name__} |")]
        column = 1 + list(State).index(state)
        assert row.split("|")[1 + column].strip() == target.name


def test_an_arrow_names_all_that_leads_there() -> None:
    pairs: Transitions = {
        (State.BOUND, Started): State.PAUSED,
        (State.BOUND, LinkDown): State.PAUSED,
        (State.PAUSED, LinkDown): State.PAUSED,
    }
    text = drawing(pairs)
    assert "    BOUND --> PAUSED: Started, LinkDown\n" in text
    assert "PAUSED --> PAUSED" not in text


def test_a_pair_that_cannot_happen_is_an_empty_cell() -> None:
    assert "| Granted | BOUND |  | BOUND |  |  |\n" in drawing()


def test_a_fresh_drawing_passes_the_check_and_a_stale_one_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "states.md"
    assert main(["--check", str(path)]) == 1
    assert main([str(path)]) == 0
    assert main(["--check", str(path)]) == 0
    path.write_text(drawing() + "more")
    assert main(["--check", str(path)]) == 1
    assert "stale" in capsys.readouterr().err


def test_the_drawing_in_the_repository_is_fresh() -> None:
    assert main(["--check", str(draw_states.DOCUMENT)]) == 0
