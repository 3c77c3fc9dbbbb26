"""The closed set of messages between the helper (root) and the network process. Pure.

Nothing here carries a private or preshared key, a path to write to, or a command. The helper
checks each request again against its own configuration and ledger (helper/server.py,
helper/client.py); what is not in these tuples cannot be asked.
"""

from dataclasses import dataclass

from wg_dynamic.address import Prefix

KEY_SIZE = 32
MAX_CHANGES = 512
"""Changes in one ChangeAllowedIPs: about 30 kB."""
MAX_PEERS_PREFIXES = 3000
"""Prefixes in one Peers message, at 18 bytes: about 54 kB. A peer that has more comes again."""
PEER_COST = 3
"""What a peer takes besides its prefixes, in prefixes."""
MAX_ADDRESSES = 16
"""Addresses in one ApplyLease."""
MAX_TEXT = 1000
"""Characters of a report."""


def _check(value: bool, text: str) -> None:
    if not value:
        raise ValueError(text)


# --- server: network process -> helper ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadPeers:
    """Dump the interface. Answer: Peers, once or more, the final one with `last`."""


@dataclass(frozen=True, slots=True)
class Change:
    """Give a leased address to a peer's allowed IPs, or take it off."""

    public_key: bytes
    prefix: Prefix
    add: bool

    def __post_init__(self) -> None:
        """Refuse what no helper would do (ValueError)."""
        _check(len(self.public_key) == KEY_SIZE, "public key is not 32 bytes")
        _check(self.prefix.is_host, f"{self.prefix} is more than one address")


@dataclass(frozen=True, slots=True)
class ChangeAllowedIPs:
    """Carry out the changes in their order. Answer: Changed."""

    changes: tuple[Change, ...]

    def __post_init__(self) -> None:
        """Refuse too many (ValueError)."""
        _check(len(self.changes) <= MAX_CHANGES, f"more than {MAX_CHANGES} changes")


# --- server: helper -> network process ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerStart:
    """What the network process works by: the first message it gets, with the listener attached."""

    interface: str
    ifindex: int
    pools: tuple[Prefix, ...]
    excluded: tuple[bytes, ...]
    """The hub's own addresses inside the pools."""
    lease_time: int
    database: str


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """One peer: what an administrator gave it, and what stands in the ledger as ours."""

    public_key: bytes
    fixed: tuple[Prefix, ...]
    leased: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class Peers:
    """A part of the answer to ReadPeers."""

    peers: tuple[PeerInfo, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which change was not made, and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The answer to ChangeAllowedIPs: everything but the refusals was done."""

    refusals: tuple[Refusal, ...]


# --- client: network process -> helper ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Make a connection to [fe80::%interface]:970. Answer: Connecting with a socket, or Failed."""


@dataclass(frozen=True, slots=True)
class AddressSetting:
    """One leased address as the server gave it."""

    address: Prefix
    """A /32 or /128."""
    network: Prefix
    """The on-link network; equal to `address` when there is none."""
    preferred_time: int
    valid_time: int

    def __post_init__(self) -> None:
        """Refuse what does not hang together (ValueError)."""
        _check(self.address.is_host, f"{self.address} is more than one address")
        _check(self.network.network() == self.network, f"{self.network} has host bits set")
        _check(self.network.covers(self.address), f"{self.address} is outside {self.network}")
        _check(0 < self.preferred_time <= self.valid_time < 1 << 32, "lifetimes out of bounds")


@dataclass(frozen=True, slots=True)
class ApplyLease:
    """Let exactly these addresses be ours: set or refresh them, undo others. Answer: Applied."""

    addresses: tuple[AddressSetting, ...]

    def __post_init__(self) -> None:
        """Refuse too many (ValueError)."""
        _check(len(self.addresses) <= MAX_ADDRESSES, f"more than {MAX_ADDRESSES} addresses")


@dataclass(frozen=True, slots=True)
class Report:
    """Why there is no lease now, for the person who waits and for the status. No answer."""

    text: str

    def __post_init__(self) -> None:
        """Refuse a novel (ValueError)."""
        _check(len(self.text) <= MAX_TEXT, f"more than {MAX_TEXT} characters")


# --- client: helper -> network process ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientStart:
    """The first message that the client's network process gets."""

    interface: str
    link_local: bytes
    wishes: tuple[bytes, ...]
    """Addresses that are still set from an earlier run: asked for again."""


@dataclass(frozen=True, slots=True)
class Connecting:
    """The socket, attached, is connecting; whether it will is seen on the socket."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The request could not be carried out."""

    reason: str


@dataclass(frozen=True, slots=True)
class RefusedAddress:
    """An address that the helper's policy, or the kernel, does not take."""

    address: Prefix
    reason: str


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer to ApplyLease: everything but the refused ones is set."""

    refused: tuple[RefusedAddress, ...]


@dataclass(frozen=True, slots=True)
class LinkState:
    """The interface went down, or is up again and qualifies."""

    up: bool


# --- both ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The network process has started and serves."""


@dataclass(frozen=True, slots=True)
class Fatal:
    """The network process cannot go on, and starting it again would not help."""

    reason: str

    def __post_init__(self) -> None:
        """Refuse a novel (ValueError)."""
        _check(len(self.reason) <= MAX_TEXT, f"more than {MAX_TEXT} characters")


@dataclass(frozen=True, slots=True)
class Stop:
    """End now; a client with `release` gives its lease back first."""

    release: bool


SERVER_REQUESTS = (ReadPeers, ChangeAllowedIPs, Ready, Fatal)
"""Server's network process -> helper."""
SERVER_REPLIES = (ServerStart, Peers, Changed, Stop)
"""Helper -> server's network process."""
CLIENT_REQUESTS = (Connect, ApplyLease, Report, Ready, Fatal)
"""Client's network process -> helper."""
CLIENT_REPLIES = (ClientStart, Connecting, Failed, Applied, LinkState, Stop)
"""Helper -> client's network process."""
