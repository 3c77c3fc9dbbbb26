"""The link-local address that belongs to a public key (docs/operations.md). Pure.

Whoever has the key can work the address out, so hub and client need not tell it each other. It is
fe80::/64 and the first 64 bits of SHA-256 over DOMAIN, the key and one counter byte, which is 0
unless the outcome is set apart: then 1, and so on. A table of other addresses may hold the same one
all the same, by a hand-made configuration or by 2^64 attempts of somebody's: whoever adds a peer
looks for that first.
"""

from hashlib import sha256
from typing import Final

from wg_dynamic.wireguard.key import KEY_SIZE

DOMAIN: Final = b"wg-dynamic link-local\0"
"""Before the key, so that no other use of the hash comes to the same bits."""
_NETWORK: Final = bytes.fromhex("fe80") + bytes(6)
_WORD: Final = 8
"""Bytes of an interface identifier."""
_FIRST_FREE: Final = 1 << 32
"""Those below are what people choose: fe80::1, fe80::a:1, and fe80:: itself, the server's."""
_SET_APART: Final = (
    (0, _FIRST_FREE - 1),
    (0x02005EFFFE000000, 0x02005EFFFEFFFFFF),  # RFC 5453: IANA's own Ethernet numbers
    (0xFDFFFFFFFFFFFF80, 0xFDFFFFFFFFFFFFFF),  # RFC 2526: anycast, with a flag of EUI-64
    (0xFFFFFFFFFFFFFF80, 0xFFFFFFFFFFFFFFFF),  # RFC 2526: anycast, without
)


def link_local_of(public_key: bytes) -> bytes:
    """The address, 16 bytes. Raises ValueError for what is no key."""
    if len(public_key) != KEY_SIZE:
        msg = f"public key of {len(public_key)} bytes, expected {KEY_SIZE}"
        raise ValueError(msg)
    counter = 0
    while True:
        identifier = sha256(DOMAIN + public_key + bytes([counter])).digest()[:_WORD]
        if not is_set_apart(identifier):
            return _NETWORK + identifier
        counter += 1  # never 256: of 256 hashes one is free, or SHA-256 is broken


def is_set_apart(identifier: bytes) -> bool:
    """Whether no peer's address ends with these 8 bytes: the server's, reserved, or hand-picked."""
    value = int.from_bytes(identifier, "big")
    return any(first <= value <= last for first, last in _SET_APART)
