import io

import pytest

from tools.narrator import WIDTH, Narrator, StepError, expect, look_until, wants_colour


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Pipe(Terminal):
    def isatty(self) -> bool:
        return False


class OldTerminal(Terminal):
    encoding = "latin-1"


def test_colours_are_for_terminals_that_want_them() -> None:
    assert wants_colour(Terminal(), {"TERM": "xterm"})
    assert wants_colour(Terminal(), {"TERM": "xterm", "NO_COLOR": ""})
    assert not wants_colour(Terminal(), {"TERM": "xterm", "NO_COLOR": "1"})
    assert not wants_colour(Terminal(), {"TERM": "dumb"})
    assert not wants_colour(Pipe(), {"TERM": "xterm"})


def test_a_step_is_told_with_what_was_seen() -> None:
    stream = Pipe()
    tell = Narrator(stream, {})
    with tell.step("a lease"):
        tell.command("hub", "wg show wg0")
        tell.output("peer: abc\n\n  allowed ips: x\n", {"abc": "laptop"})
        tell.tick("seen")
    assert stream.getvalue() == (
        "\n1. a lease\n"
        "   hub# wg show wg0\n"
        "   peer: abc  <- laptop\n"
        "\n"
        "     allowed ips: x\n"
        "   ✓ seen\n"
    )
    assert (tell.steps, tell.seen) == (1, 1)


def test_a_failed_step_says_what_was_expected_and_seen_and_does_not_count() -> None:
    stream = Pipe()
    tell = Narrator(stream, {})
    with pytest.raises(StepError), tell.step("a lease"):
        expect(holds=False, expected="an address", seen=["none"])
    assert "✗ a lease: not as expected" in stream.getvalue()
    assert "expected: an address\n   seen:     ['none']\n" in stream.getvalue()
    with pytest.raises(ValueError, match="odd"), tell.step("another"):
        raise ValueError("odd")  # noqa: EM101
    assert "✗ another: ValueError\n   odd\n" in stream.getvalue()
    assert (tell.steps, tell.seen) == (2, 0)


def test_what_is_as_expected_raises_nothing() -> None:
    expect(holds=True, expected="an address", seen="10.44.0.1")


def test_marks_are_ascii_where_the_encoding_has_no_tick() -> None:
    stream = OldTerminal()
    tell = Narrator(stream, {"NO_COLOR": "1"})
    tell.tick("seen")
    tell.cross("not seen")
    assert stream.getvalue() == "   ok seen\n   FAILED not seen\n"


def test_a_long_command_goes_on_after_a_backslash() -> None:
    stream = Pipe()
    words = [f"--pool 10.{number}.0.0/16" for number in range(20)]
    Narrator(stream, {}).command("hub", " ".join(["wg-dynamic-server", *words]))
    lines = stream.getvalue().splitlines()
    assert len(lines) > 1
    assert max(len(line) for line in lines) <= WIDTH
    assert all(line.endswith(" \\") for line in lines[:-1])
    joined = " ".join(line.removesuffix("\\").strip() for line in lines)
    assert joined == " ".join(["hub# wg-dynamic-server", *words])


def test_looking_ends_when_it_is_good_or_with_what_was_seen_last() -> None:
    numbers = iter(range(10))
    seen = look_until(lambda: next(numbers), lambda number: number == 3, expected="3")
    assert seen == 3
    with pytest.raises(StepError) as caught:
        look_until(lambda: "none", lambda _: False, expected="a lease", timeout=0.0)
    assert caught.value.expected == "a lease within 0 s"
    assert caught.value.seen == "none"
