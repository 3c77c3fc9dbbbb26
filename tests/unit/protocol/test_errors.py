"""Error numbers and exceptions: docs/protocol.md section 7."""

import pytest

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.protocol.errors import (
    ErrorCode,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    error_code,
    error_text,
)


def test_the_first_four_codes_are_those_of_version_1() -> None:
    assert [code for code in ErrorCode if code.in_version_1 is code] == [
        ErrorCode.SUCCESS,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.UNSUPPORTED_PROTOCOL,
        ErrorCode.UNAVAILABLE,
    ]


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_a_text_and_a_place_in_version_1(code: ErrorCode) -> None:
    assert code.text
    assert "=" not in code.text
    assert 0 <= code.in_version_1 <= 3


def test_upstreams_texts_are_kept() -> None:
    assert [ErrorCode(number).text for number in range(1, 4)] == [
        "Invalid request",
        "Unsupported protocol",
        "Chosen IP(s) unavailable",
    ]


def test_only_what_is_not_understood_leaves_the_connection_open() -> None:
    assert {code for code in ErrorCode if not code.ends_connection} == {
        ErrorCode.UNKNOWN_COMMAND,
        ErrorCode.NOT_UNDERSTOOD,
    }


def test_a_number_beyond_the_table_stays_a_number() -> None:
    assert error_code(3) is ErrorCode.UNAVAILABLE
    assert error_code(4711) == 4711
    assert error_text(3) == "Chosen IP(s) unavailable"
    assert error_text(4711) == "Error 4711"


def test_the_base_class_cannot_be_raised() -> None:
    with pytest.raises(TypeError, match="abstract"):
        ProtocolError("x")


def test_local_and_remote_errors_are_errors_of_the_package() -> None:
    assert issubclass(LocalProtocolError, WgDynamicError)
    assert issubclass(RemoteProtocolError, ProtocolError)


def test_a_remote_error_says_number_and_text() -> None:
    error = RemoteProtocolError(8, "no such thing", command="x", request_id=3)
    assert error.code is ErrorCode.UNKNOWN_COMMAND
    assert (error.text, error.command, error.request_id) == ("no such thing", "x", 3)
    assert str(error) == "errno 8: no such thing"
