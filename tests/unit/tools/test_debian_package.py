from pathlib import Path

import pytest

from tools.debian_package import Tree, place_of, programs, version_of


@pytest.mark.parametrize(
    ("upstream", "expected"),
    [
        ("0.1.0.dev0", "0.1.0~dev0-1"),
        ("0.2.0", "0.2.0-1"),
        ("1.0rc1", "1.0~rc1-1"),
        ("1.0a2", "1.0~a2-1"),
    ],
)
def test_what_comes_before_a_release_is_sorted_before_it(upstream: str, expected: str) -> None:
    assert version_of(upstream) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("packaging/wg-dynamic-quick", "usr/bin"),
        ("packaging/systemd/wg-dynamic-client@.service", "usr/lib/systemd/system"),
        ("packaging/systemd/wg-quick-auto.conf", "usr/share/doc/wg-dynamic/examples"),
        ("docs/operations.md", "usr/share/doc/wg-dynamic"),
        ("docs/decisions/0001-x.md", "usr/share/doc/wg-dynamic/decisions"),
        ("docs/guide/one.md", "usr/share/doc/wg-dynamic/guide"),
        ("README.md", "usr/share/doc/wg-dynamic"),
        ("packaging/debian/postinst", None),
        ("tests/README.md", None),
        ("tools/stages", None),
    ],
)
def test_files_go_where_the_first_line_says(name: str, expected: str | None) -> None:
    assert place_of(name) == expected


def test_commands_are_those_of_pyproject() -> None:
    settings = {
        "project": {
            "scripts": {
                "wg-dynamic": "wg_dynamic.cli.command.main:main",
                "wg-dynamic-server": "wg_dynamic.cli.server:main",
            }
        }
    }
    assert list(programs(settings)) == [
        ("usr/bin/wg-dynamic", "wg_dynamic.cli.command.main"),
        ("usr/sbin/wg-dynamic-server", "wg_dynamic.cli.server"),
    ]
    settings["project"]["scripts"]["x"] = "module:other"
    with pytest.raises(ValueError, match="expected the function main"):
        list(programs(settings))


def test_modes_and_times_are_not_the_builder_s(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    tree.put("usr/bin/x", b"x", 0o755)
    tree.put("DEBIAN/control", b"")
    (tmp_path / "tree" / "usr").chmod(0o700)
    tree.finish(1000)
    assert list(tree.files()) == [Path("usr/bin/x")]
    for path in (tmp_path / "tree").rglob("*"):
        assert path.stat().st_mtime == 1000
    assert (tmp_path / "tree" / "usr").stat().st_mode & 0o777 == 0o755
