"""What a document says for wg-dynamic-watch."""

import pytest

from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.beside import DEFAULT_EVENTS, NOTHING, Beside, Hook
from wg_dynamic.helper.config.document import parse_config
from wg_dynamic.leases.event import GRANTED, REFUSED, RENEWED


def read(text: str) -> Beside:
    return parse_config(text, "x").beside


def test_nothing_is_done_unless_it_is_said() -> None:
    assert read("") == NOTHING
    assert not {RENEWED, REFUSED} & set(DEFAULT_EVENTS)


def test_all_of_it_is_read() -> None:
    text = """
        [[hook]]
        command = ["/bin/one", "a b"]
        [[hook]]
        command = ["/bin/two"]
        events = ["granted"]
        user = "root"
        timeout = "1m"
        [metrics]
        listen = "[::1]:9586"
        [names]
        suffix = "VPN.example"
        reserved = ["printer"]
    """
    hooks = (Hook(("/bin/one", "a b")), Hook(("/bin/two",), (GRANTED,), "root", 60))
    assert read(text) == Beside(hooks, ("::1", 9586), "vpn.example", ("printer",))
    assert read("[metrics]\nlisten = '127.0.0.1:1'").metrics == ("127.0.0.1", 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[hook]]", "[[hook]] 1: command is missing"),
        ("[[hook]]\ncommand = []", ""),
        ("[[hook]]\ncommand = ['true']", "'true', expected the path of a program"),
        ("[[hook]]\ncommand = ['/x']\nevents = ['x']", "'x', expected any of granted,"),
        ("[[hook]]\ncommand = ['/x']\ntimeout = 0", "0, expected 1 to 3600 seconds"),
        ("[[hook]]\ncommand = ['/x']\nuserr = 'x'", "did you mean user?"),
        ("[[hook]]\ncommand = ['/x']\n" * 17, "17 [[hook]], expected at most 16"),
        ("[metrics]", "listen is missing"),
        ("[names]", "suffix is missing"),
        ("[names]\nsuffix = 'a b'", "expected a domain name"),
        *(
            (f"[metrics]\nlisten = '{one}'", "expected an address and a port")
            for one in (
                "9586",
                "localhost:1",
                "127.0.0.1:0",
                "127.0.0.1:65536",
                "::1:9",
                "[1.2.3.4]:1",
            )
        ),
    ],
)
def test_what_is_wrong_is_told(text: str, expected: str) -> None:
    if not expected:
        assert read(text) == NOTHING
        return
    with pytest.raises(UsageError) as caught:
        read(text)
    assert expected in str(caught.value)
