from pathlib import Path

from tools import repository


def test_only_what_belongs_to_the_repository_is_listed(tmp_path: Path) -> None:
    for name in [
        "README.md",
        ".gitignore",
        ".ci/run",
        "src/a.py",
        ".git/config",
        ".venv/bin/python",
        "src/__pycache__/a.pyc",
        ".coverage.host.1",
        ".bootstrap.lock",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {str(name) for name in repository.files(tmp_path)} == {
        "README.md",
        ".gitignore",
        ".ci/run",
        "src/a.py",
    }


def test_what_is_not_text_is_none(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "text").write_text("ä")
    assert repository.text(tmp_path / "binary") is None
    assert repository.text(tmp_path / "text") == "ä"
