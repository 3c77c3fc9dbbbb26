"""docs/operations.md says how the address is made: these are its examples."""

from collections.abc import Callable

import pytest

from wg_dynamic.address import format_address
from wg_dynamic.wireguard import lladdr
from wg_dynamic.wireguard.key import parse_key
from wg_dynamic.wireguard.lladdr import is_set_apart, link_local_of


@pytest.mark.parametrize(
    ("key", "address"),
    [  # by sha256sum(1)
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "fe80::3fd5:5dd2:f7da:c9a3"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "fe80::927f:f80:4036:62e9"),
    ],
)
def test_the_address_is_the_beginning_of_a_hash_of_the_key(key: str, address: str) -> None:
    assert format_address(link_local_of(parse_key(key))) == address


@pytest.mark.parametrize("size", [0, 31, 33])
def test_what_is_no_key_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"public key of {size} bytes, expected 32"):
        link_local_of(bytes(size))


@pytest.mark.parametrize(
    ("identifier", "apart"),
    [
        ("0000000000000000", True),  # fe80::, where the server listens
        ("0000000000000001", True),
        ("00000000ffffffff", True),
        ("0000000100000000", False),
        ("02005efffdffffff", False),
        ("02005efffe000000", True),
        ("02005efffeffffff", True),
        ("02005effff000000", False),
        ("fdffffffffffff7f", False),
        ("fdffffffffffff80", True),
        ("fdffffffffffffff", True),
        ("fe00000000000000", False),
        ("ffffffffffffff7f", False),
        ("ffffffffffffff80", True),
        ("ffffffffffffffff", True),
    ],
)
def test_anycast_and_hand_picked_addresses_are_nobodys(identifier: str, apart: bool) -> None:
    assert is_set_apart(bytes.fromhex(identifier)) is apart


def test_where_a_hash_is_set_apart_the_next_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    class Hash:
        def __init__(self, data: bytes) -> None:
            seen.append(data)

        def digest(self) -> bytes:
            return (bytes(8) if len(seen) < 3 else b"\x12" * 8) + bytes(24)

    made: Callable[[bytes], Hash] = Hash
    monkeypatch.setattr(lladdr, "sha256", made)
    key = bytes(range(32))
    assert link_local_of(key) == bytes.fromhex("fe80000000000000") + b"\x12" * 8
    assert seen == [b"wg-dynamic link-local\0" + key + bytes([counter]) for counter in (0, 1, 2)]
