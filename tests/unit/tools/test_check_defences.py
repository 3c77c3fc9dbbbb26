from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from tools.check_defences import (
    LIST,
    TABLE,
    Defence,
    Seen,
    chosen,
    in_words,
    is_new,
    merged,
    read_list,
    seen_before,
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
    assert len(list(unfit([good, good], tmp_path))) == 1  # its claim is there twice


def test_the_table_says_which_test_failed() -> None:
    one = a_defence(("a", "b"))
    text = table([one], {one.claim: Seen(in_words("tests/test_door.py::test_it[x-1]"), one.mark)})
    assert "\n## Doors\n" in text
    assert f"| it is shut | `door.py` | `test_door.py`: test it | `{one.mark}` |\n" in text


def test_what_the_table_says_is_read_again() -> None:
    seen = {"it is shut": Seen(in_words("tests/test_door.py::test_it"), "0123abcd")}
    text = table([a_defence(("a", "b")), replace(a_defence(), claim="unseen")], seen)
    assert seen_before(text) == seen


@pytest.mark.parametrize(
    "other",
    [
        replace(a_defence(("a", "b")), claim="it is locked"),
        replace(a_defence(("a", "b")), file="window.py"),
        a_defence(("a", "c")),
        a_defence(("a", "b"), ("d", "e")),
        a_defence(("a", "b"), test="tests/test_window.py"),
    ],
)
def test_an_entry_with_another_text_is_new(other: Defence) -> None:
    one = a_defence(("a", "b"))
    seen = merged({}, [one], [one.test])
    assert not is_new(one, seen)
    assert is_new(other, seen)


def test_those_that_are_asked_for_are_tried() -> None:
    one, other = a_defence(("a", "b")), replace(a_defence(("a", "b")), claim="other", root=True)
    seen = merged({}, [one], [one.test])

    def asked(**options: object) -> list[Defence]:
        given = {"only": "", "new": False, "without_root": False, **options}
        return chosen([one, other], Namespace(**given), seen)

    assert asked() == [one, other]
    assert asked(new=True) == [other]
    assert asked(only="other") == [other]
    assert asked(without_root=True) == [one]


def test_what_was_seen_stays_until_it_is_tried_again() -> None:
    one, other = a_defence(("a", "b")), replace(a_defence(("a", "c")), claim="other")
    seen = merged({"it is shut": Seen("`x.py`", "0")}, [other], ["tests/y.py::test_y"])
    assert seen == {
        "it is shut": Seen("`x.py`", "0"),
        "other": Seen("`y.py`: test y", other.mark),
    }
    assert list(merged(seen, [one], [""])) == ["other"]


def test_the_list_fits_the_tree_and_the_table_the_list() -> None:
    every = read_list((ROOT / LIST).read_text(encoding="utf-8"))
    assert list(unfit(every, ROOT)) == []
    seen = seen_before((ROOT / TABLE).read_text(encoding="utf-8"))
    assert list(seen) == [one.claim for one in every]
