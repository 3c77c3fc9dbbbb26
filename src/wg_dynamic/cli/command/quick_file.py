"""A configuration of wg-quick, to which one [Peer] is added, or from which it is taken. Pure.

The administrator's text stays as it is, to the byte: a block between two comments of ours is put at
its end, and such a block alone is ever taken out. The file holds the private key: nothing of it but
numbers of lines and public keys is in an error.
"""

from typing import Final

from wg_dynamic.errors import UsageError

_BEGIN: Final = "# begin of a peer by wg-dynamic: "
_END: Final = "# end of the peer by wg-dynamic: "
_TRUE: Final = "true"


def saves_itself(text: str) -> bool:
    """Whether wg-quick writes the interface into the file when it goes down (SaveConfig)."""
    values = [value for _, _, key, value in _settings(text) if key == "saveconfig"]
    return bool(values) and values[-1].lower() == _TRUE


def line_of_peer(text: str, public_key: str) -> int | None:
    """The line, from 1, that gives a [Peer] this public key; None where there is none."""
    for number, section, key, value in _settings(text):
        if (section, key, value) == ("peer", "publickey", public_key):
            return number
    return None


def has_block(text: str, public_key: str) -> bool:
    """Whether a block of ours for this peer stands there, whole or not."""
    return _place(text.split("\n"), _BEGIN, public_key) is not None


def with_peer(
    text: str, public_key: str, allowed_ips: str, name: str = "", preshared_key: str = ""
) -> str:
    """The text with a block for the peer at its end. Nothing given may have a line break in it."""
    lines = [f"{_BEGIN}{public_key}", "[Peer]"]
    if name:
        lines.append(f"# {name}")
    lines.append(f"PublicKey = {public_key}")
    if preshared_key:
        lines.append(f"PresharedKey = {preshared_key}")
    lines += [f"AllowedIPs = {allowed_ips}", f"{_END}{public_key}", ""]
    line_break = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{line_break}\n" + "\n".join(lines)


def without_peer(text: str, public_key: str) -> str:
    """The text without our block for the peer, if there is one.

    Raises:
        UsageError: it is not whole, or holds something else than that one peer.
    """
    lines = text.split("\n")
    start = _place(lines, _BEGIN, public_key)
    if start is None:
        return text
    end = _place(lines, _END, public_key)
    block = lines[start : end + 1] if end is not None else []
    inside = list(_settings("\n".join(block)))
    headers = [line for line in block if line.strip().startswith("[")]
    keys = [(section, value) for _, section, key, value in inside if key == "publickey"]
    if end is None or len(headers) != 1 or keys != [("peer", public_key)]:
        msg = f"line {start + 1} begins what was added for peer {public_key}, expected that peer"
        msg += f" alone up to a line '{_END}{public_key}': take it out by hand"
        raise UsageError(msg)
    del lines[start : end + 1]
    if start and lines[start - 1] == "":
        del lines[start - 1]
    return "\n".join(lines)


def _place(lines: list[str], mark: str, public_key: str) -> int | None:
    wanted = f"{mark}{public_key}"
    for number, line in enumerate(lines):
        if line.strip() == wanted:
            return number
    return None


def _settings(text: str) -> list[tuple[int, str, str, str]]:
    """Line, section and key in lower case, and value, as wg-quick and wg read them."""
    found = []
    section = ""
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.partition("#")[0].strip()
        if bare.startswith("["):
            section = bare.strip("[]").strip().lower()
            continue
        key, equals, value = bare.partition("=")
        if equals:
            found.append((number, section, key.strip().lower(), value.strip()))
    return found
