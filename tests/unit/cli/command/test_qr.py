import pytest

from wg_dynamic.cli.command.qr import NoCodeError, draw
from wg_dynamic.cli.command.qr_child import MISSING
from wg_dynamic.system.tools import ToolResult


class FakePython:
    def __init__(self, status: int, output: str = "", words: str = "") -> None:
        self.result = ToolResult("python", status, output, words)
        self.calls: list[tuple[tuple[str, ...], dict[str, object]]] = []

    def __call__(self, *command: str, **more: object) -> ToolResult:
        self.calls.append((command, more))
        return self.result


def test_the_text_goes_to_a_process_of_its_own_and_not_by_its_arguments() -> None:
    python = FakePython(0, "██\n")
    assert draw("secret", python) == "██\n"
    ((command, more),) = python.calls
    assert command[1:] == ("-I", "-m", "wg_dynamic.cli.command.qr_child")
    assert "/" not in command[0]
    assert more["text"] == "secret"


def test_without_segno_there_is_no_code_and_it_says_what_to_install() -> None:
    with pytest.raises(NoCodeError, match="apt install python3-segno"):
        draw("text", FakePython(MISSING))


def test_another_failure_is_told_in_its_words() -> None:
    with pytest.raises(NoCodeError, match="no QR code: too much"):
        draw("text", FakePython(1, words="too much"))
