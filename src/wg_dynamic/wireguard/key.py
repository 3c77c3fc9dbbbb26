"""Public keys: 32 bytes inside, base64 for people, hexadecimal on the UAPI socket."""

import base64
import binascii

KEY_SIZE = 32
"""Bytes in a Curve25519 key (linux/wireguard.h, WG_KEY_LEN)."""


def parse_key(text: str) -> bytes:
    """The 32 bytes of a base64 public key as `wg` prints it. Raises ValueError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_SIZE or format_key(raw) != text:
        msg = f"public key {text!r}, expected 44 characters of base64 as printed by `wg show`"
        raise ValueError(msg)
    return raw


def format_key(public_key: bytes) -> str:
    """Base64 form, as `wg show` prints it."""
    return base64.b64encode(public_key).decode("ascii")


def peer_label(public_key: bytes) -> str:
    """Short form for logs, `peer(AbCd…wxYZ)`, as wireguard-go prints it."""
    text = format_key(public_key)
    return f"peer({text[:4]}…{text[39:43]})"
