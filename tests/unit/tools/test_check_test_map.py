from pathlib import Path

import pytest

from tools.check_test_map import complaints, unit_test_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree in which everything fits."""
    for name, content in {
        "src/wg_dynamic/__init__.py": '"""Documented."""\nimport os\n__all__ = ["os"]\n',
        "src/wg_dynamic/store/memory.py": "x = 1\n",
        "tests/unit/store/test_memory.py": "",
        "tools/netlab.py": "",
        "tests/unit/tools/test_netlab.py": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def test_a_tree_in_which_everything_fits_gives_no_complaint(root: Path) -> None:
    assert list(complaints(root, {})) == []


def test_a_module_without_its_test_file_is_named(root: Path) -> None:
    (root / "src/wg_dynamic/store/sqlite.py").touch()
    assert list(complaints(root, {})) == [
        "src/wg_dynamic/store/sqlite.py: has no test file, expected tests/unit/store/test_sqlite.py"
    ]


def test_a_test_file_without_its_module_is_named(root: Path) -> None:
    (root / "tests/unit/store/test_postgres.py").touch()
    (root / "tests/unit/tools/test_demo.py").touch()
    assert [line.partition(":")[0] for line in complaints(root, {})] == [
        "tests/unit/store/test_postgres.py",
        "tests/unit/tools/test_demo.py",
    ]


def test_an_init_with_code_needs_a_test(root: Path) -> None:
    (root / "src/wg_dynamic/store/__init__.py").write_text("def f() -> None: ...\n")
    assert list(complaints(root, {})) == [
        "src/wg_dynamic/store/__init__.py: has no test file, expected tests/unit/store/test_init.py"
    ]


def test_an_exemption_holds_only_with_a_reason_and_only_while_it_is_needed(root: Path) -> None:
    (root / "src/wg_dynamic/store/base.py").touch()
    assert list(complaints(root, {"src/wg_dynamic/store/base.py": "interfaces only"})) == []
    assert list(
        complaints(
            root,
            {
                "src/wg_dynamic/store/base.py": " ",
                "src/wg_dynamic/store/gone.py": "was big",
                "src/wg_dynamic/store/memory.py": "has a test by now",
            },
        )
    ) == [
        "src/wg_dynamic/store/memory.py: is exempt in pyproject.toml, "
        "yet tests/unit/store/test_memory.py exists",
        "src/wg_dynamic/store/base.py: is exempt in pyproject.toml without a reason",
        "src/wg_dynamic/store/gone.py: is exempt in pyproject.toml, yet does not exist",
    ]


def test_dunder_modules_lose_their_underscores_in_the_name_of_the_test() -> None:
    assert unit_test_of(Path("src/wg_dynamic/cli/__main__.py")) == Path(
        "tests/unit/cli/test_main.py"
    )
