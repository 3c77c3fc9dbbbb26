import pytest

from tools.debian_root import RootError, sources


def test_the_machine_s_own_sources_of_the_release_are_taken() -> None:
    text = sources(
        [
            "bookworm main http://mirror.example/debian",
            "bookworm contrib http://mirror.example/debian",
            "bookworm-security main http://mirror.example/debian-security",
            "bookworm-backports main http://mirror.example/debian",
            "trixie main http://mirror.example/debian",
            "bookworm main http://other.example/debian",
        ]
    )
    assert text == (
        "deb http://mirror.example/debian bookworm main\n"
        "deb http://mirror.example/debian-security bookworm-security main\n"
    )


def test_a_machine_without_the_release_says_so() -> None:
    with pytest.raises(RootError, match="no source of Debian bookworm"):
        sources(["trixie main http://mirror.example/debian"])
