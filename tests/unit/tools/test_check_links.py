from pathlib import Path

import pytest

from tools.check_links import anchors, complaints, targets


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/protocol.md").write_text("# The wire\n## 3.1 `MessageBuffer`: limits\n")
    return tmp_path


def page(root: Path, content: str) -> list[str]:
    (root / "README.md").write_text(content)
    return list(complaints(root, Path("README.md")))


def test_links_to_files_and_headings_that_exist_pass(root: Path) -> None:
    assert page(root, "[a](docs/protocol.md) [b](docs/protocol.md#the-wire) [c](docs)") == []
    assert page(root, "[a](docs/protocol.md#31-messagebuffer-limits)") == []
    assert page(root, "# Here\n[a](#here)\n\n[ref]: docs/protocol.md\n") == []


def test_links_that_lead_nowhere_are_named(root: Path) -> None:
    assert page(root, "[a](docs/gone.md)") == ["README.md: link to 'docs/gone.md': no such file"]
    assert page(root, "[a](docs/protocol.md#the-wires)") == [
        "README.md: link to 'docs/protocol.md#the-wires': no such heading"
    ]
    assert page(root, '[ref]: gone.md "title"') == ["README.md: link to 'gone.md': no such file"]


def test_links_out_of_the_repository_and_code_are_left_alone() -> None:
    assert targets("[a](https://example.org/x) [b](mailto:x) `[c](d)`\n```\n[e](f)\n```\n") == []


def test_comments_in_code_blocks_are_no_headings() -> None:
    assert anchors("# One\n```sh\n# two\n```\n## Three of [them](x) #\n") == {
        "one",
        "three-of-them",
    }
