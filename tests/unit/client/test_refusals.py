"""What is done about each errno: docs/protocol.md 10.2 has the same table."""

import pytest

from tools.repository import ROOT
from wg_dynamic.client.refusals import LEAST_WAIT, SOON, least_wait
from wg_dynamic.protocol.errors import ErrorCode


def test_every_code_of_the_protocol_has_its_line() -> None:
    assert set(LEAST_WAIT) == set(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_the_document_says_the_same(code: ErrorCode) -> None:
    text = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    wait = LEAST_WAIT[code]
    assert f"\n| {int(code)} | {f'{wait:g} s' if wait else 'the back-off'} | " in text


def test_the_server_may_ask_for_more_but_not_for_less() -> None:
    assert least_wait(ErrorCode.EXHAUSTED, None) == 10.0
    assert least_wait(ErrorCode.EXHAUSTED, 5) == 10.0
    assert least_wait(ErrorCode.EXHAUSTED, 11) == 11.0


def test_without_any_wish_of_anybody_the_back_off_decides() -> None:
    assert least_wait(ErrorCode.UNAVAILABLE, None) is None
    assert least_wait(ErrorCode.UNAVAILABLE, 0) is None
    assert least_wait(ErrorCode.UNAVAILABLE, 3) == 3.0


def test_a_code_that_is_not_known_is_a_failure_like_others() -> None:
    assert least_wait(77, None) == SOON
