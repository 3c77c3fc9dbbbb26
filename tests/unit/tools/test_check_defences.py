from pathlib import Path

import pytest

from tools.check_defences import (
    LIST,
    TABLE,
    Defence,
    read_list,
    shown_before,
    table,
    unfit,
)
from tools.repository import ROOT

ENTRY = """
[[section]]
name = "Doors"
[[section.defence]]
claim = "it is shut"
file = "server/door.py"
out = [['shut = True', 'shut = False']]
"""


def a_defence(*out: tuple[str, str], test: str = "tests/test_door.py::test_it") -> Defence:
    return Defence("Doors", "it is shut", "door.py", out, test, root=False)


def test_an_entry_names_a_module_and_its_own_unit_tests() -> None:
    (one,) = read_list(ENTRY)
    assert one.section == "Doors"
    assert one.file == "src/wg_dynamic/server/door.py"
    assert one.test == "tests/unit/server/test_door.py"
    assert not one.root


def test_another_file_and_another_test_may_be_said() -> None:
    (one,) = read_list(
        ENTRY.replace("server/door.py", "packaging/door") + 'test = "tests/x.py"\nroot = true\n'
    )
    assert (one.file, one.test, one.root) == ("packaging/door", "tests/x.py", True)


def test_each_text_is_taken_out_once() -> None:
    one = a_defence(("a", "x"), ("b", "y"))
    assert one.taken_out("a b c") == "x y c"
    for text in ("a c", "a b b"):
        with pytest.raises(ValueError, match="expected once"):
            one.taken_out(text)


@pytest.mark.parametrize("out", [(), (("a", "a"),)])
def test_who_takes_nothing_out_has_shown_nothing(out: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        a_defence(*out).taken_out("a")


def test_an_entry_that_does_not_fit_is_told(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_door.py").write_text("def test_it() -> None:\n    pass\n")
    (tmp_path / "door.py").write_text("shut = True\n")
    good = a_defence(("True", "False"))
    assert list(unfit([good], tmp_path)) == []
    assert len(list(unfit([a_defence(("open", ""))], tmp_path))) == 1
    assert list(unfit([a_defence(("True", ""), test="tests/test_door.py::other")], tmp_path))
    assert len(list(unfit([a_defence(("True", ""), test="tests/none.py")], tmp_path))) == 1


def test_the_table_says_which_test_failed() -> None:
    text = table([a_defence(("a", "b"))], ["tests/test_door.py::test_it[x-1]"])
    assert "\n## Doors\n" in text
    assert "| it is shut | `door.py` | `test_door.py`: test it |\n" in text


def test_the_list_fits_the_tree_and_the_table_the_list() -> None:
    every = read_list((ROOT / LIST).read_text(encoding="utf-8"))
    assert list(unfit(every, ROOT)) == []
    shown = (ROOT / TABLE).read_text(encoding="utf-8")
    rows = [line.split(" | ")[0] for line in shown.splitlines() if line.startswith("| ")]
    assert [row for row in rows if row != "| Claim"] == [f"| {one.claim}" for one in every]
    assert len({(one.section, one.claim) for one in every}) == len(every)


def test_what_the_table_shows_already_stays_as_it_is() -> None:
    old, new = a_defence(("a", "b")), Defence("Doors", "it locks", "door.py", (), "x", root=False)
    text = table([old], ["tests/test_door.py::test_it[x-1]"])
    before = shown_before(text, [old, new])
    assert list(before) == [old]
    again = table([old, new], [before[old], "tests/test_door.py::test_lock"])
    assert "| it is shut | `door.py` | `test_door.py`: test it |\n" in again
    assert "| it locks | `door.py` | `test_door.py`: test lock |\n" in again
    moved = Defence("Doors", "it is shut", "gate.py", (), "x", root=False)
    assert shown_before(text, [moved]) == {}
