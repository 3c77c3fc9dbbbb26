"""RFC 7748's vectors against the real wg(8) are in tests/netns/test_peer_command.py."""

import pytest

from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.cli.command.keys import (
    KeyPair,
    encode_key,
    hub_key,
    make_pair,
    make_preshared_key,
)
from wg_dynamic.errors import ConfigError
from wg_dynamic.system.tools import ToolError, ToolResult
from wg_dynamic.wireguard.key import format_key

PRIVATE, PUBLIC = encode_key(b"\1" * 32), b"\2" * 32


class FakeWg:
    def __init__(self, **answers: str) -> None:
        self.answers = {"genkey": PRIVATE, "pubkey": format_key(PUBLIC), **answers}
        self.calls: list[tuple[tuple[str, ...], str]] = []

    def __call__(self, *command: str, text: str = "") -> ToolResult:
        self.calls.append((command, text))
        answer = self.answers[command[1]]
        status = 1 if answer == "fails" else 0
        return ToolResult(" ".join(command), status, f"{answer}\n", "words")


def test_a_pair_is_made_by_wg_and_the_private_key_is_no_argument() -> None:
    wg = FakeWg()
    pair = make_pair(wg)
    assert (pair.private, pair.public) == (PRIVATE, PUBLIC)
    assert wg.calls == [(("wg", "genkey"), ""), (("wg", "pubkey"), f"{PRIVATE}\n")]


def test_a_pair_does_not_show_its_private_key() -> None:
    assert "secret" not in repr(KeyPair("secret", PUBLIC))


@pytest.mark.parametrize("answers", [{"genkey": "fails"}, {"pubkey": "fails"}, {"pubkey": "x"}])
def test_without_wg_there_is_no_pair(answers: dict[str, str]) -> None:
    with pytest.raises(ToolError):
        make_pair(FakeWg(**answers))


def test_preshared_keys_are_32_bytes_and_never_the_same() -> None:
    keys = {make_preshared_key() for _ in range(9)}
    assert len(keys) == 9
    assert {len(key) for key in keys} == {32}


def test_the_kernel_tells_a_hub_its_own_key() -> None:
    assert hub_key("wg0", FakeWireGuard(public_key=PUBLIC), FakeWg(show="fails")) == PUBLIC


def test_where_it_is_not_told_wg_works_it_out() -> None:
    wg = FakeWg(show=format_key(PUBLIC))
    assert hub_key("wg0", FakeWireGuard(), wg) == PUBLIC
    assert wg.calls == [(("wg", "show", "wg0", "public-key"), "")]


def test_a_hub_without_a_key_is_not_set_up() -> None:
    with pytest.raises(ConfigError, match="wg0 has no private key"):
        hub_key("wg0", FakeWireGuard(), FakeWg(show="(none)"))
