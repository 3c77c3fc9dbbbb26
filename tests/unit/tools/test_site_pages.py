"""The pages of the site; that its links lead somewhere is for `tools/stages site`."""

import shutil
from pathlib import Path

import pytest

import wg_dynamic.protocol as library
from tests.integration.test_man_pages import leaves
from tools import site_pages
from wg_dynamic.cli.command.main import make_parser


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[x](man/wg-dynamic.1)", "[x](UP/manual.md#wg-dynamic1)"),
        ("[x](docs/man/wg-dynamic-client.8)", "[x](UP/manual.md#wg-dynamic-client8)"),
        ("[x](../man/wg-dynamic.toml.5)", "[x](UP/manual.md#wg-dynamictoml5)"),
        ("[x](decisions/) and [y](../examples/)", "[x](UP/decisions.md) and [y](UP/examples.md)"),
        ("[x](operations.md#files)", "[x](operations.md#files)"),
    ],
)
def test_links_go_to_the_pages_that_have_it(text: str, expected: str) -> None:
    assert site_pages.relinked(text, "UP") == expected


def test_every_command_and_every_public_name_has_its_place() -> None:
    page = site_pages.commands()
    for words in leaves(make_parser()):
        assert f"## wg-dynamic {words}\n" in page
    assert "--watch" in page
    names = site_pages.library_page()
    for name in ("ServerConnection", "RequestIP", "encode_refusal"):
        assert name in library.__all__
        assert f"## {name}\n" in names
    assert "`receive_data(self, data: bytes) -> None`" in names


def test_what_is_made_is_whole(tmp_path: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("needs groff: tools/bootstrap installs it as root")
    (tmp_path / "old").write_text("old")
    site_pages.lay_out(tmp_path)
    assert not (tmp_path / "old").exists()
    assert "## wg-dynamic-client(8)" in (tmp_path / "reference/manual.md").read_text()
    assert "[[pool]]" in (tmp_path / "reference/configuration.md").read_text()
    assert "0004-two-processes.md" in (tmp_path / "reference/decisions.md").read_text()
    assert "## leases-to-nft" in (tmp_path / "reference/examples.md").read_text()
    assert "](../reference/manual.md#" in (tmp_path / "docs/operations.md").read_text()
