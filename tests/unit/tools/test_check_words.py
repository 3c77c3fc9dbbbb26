from pathlib import Path

import pytest

from tools.check_words import WORDS, complaints


@pytest.mark.parametrize("word", WORDS)
def test_every_forbidden_word_is_found_with_its_line(word: str) -> None:
    found = list(complaints(Path("README.md"), f"fine\nsee {word.upper()}x\n"))
    assert len(found) == 1
    assert found[0].startswith("README.md:2: ")


def test_ordinary_text_passes() -> None:
    assert list(complaints(Path("a"), "the network/worker of a Debian machine, from PyPI\n")) == []
