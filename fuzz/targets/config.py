"""The configuration file of a server, as root reads it.

- Any file loads, or UsageError, whose lines are short and printable, each with the file's name.
- What loads reaches the network process as it is.
"""

from collections.abc import Iterator

from fuzz.scratch import make_scratch
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.checks import checked_terms
from wg_dynamic.helper.config.file import load_config
from wg_dynamic.leases.terms import LeaseTerms
from wg_dynamic.privsep.codec import MessageCodec
from wg_dynamic.privsep.requests import SERVER_REPLIES, ServerStart, TermsPart
from wg_dynamic.privsep.terms import join_terms, terms_parts, without_parts

MAX_SIZE = 4096
PARSERS = (
    "helper.config.checks",
    "helper.config.document",
    "helper.config.file",
    "helper.config.values",
)

_MAX_LINE = 2000
_PATH = make_scratch() / "server.toml"
_CODEC = MessageCodec(SERVER_REPLIES)
_DOCUMENT = """\
lease_time = "1h"
min_lease_time = 60
max_lease_time = "7d"
addresses_per_peer = 2
max_new_addresses = 60
grace_time = "10m"
quarantine_time = 86400
database = "/var/lib/wg-dynamic/wg0.db"
user = "wg-dynamic"
mtu = 1380
routes = ["10.20.0.0/16", "::/0"]
dns = { servers = ["10.44.0.1"], search = ["corp.example"] }

[[pool]]
network = "10.44.0.0/24"
lease_time = "2h"
network_length = 16
exclude = ["10.44.0.1", "10.44.0.128/25", "10.44.0.5-10.44.0.9"]

[[pool]]
network = "fd00:44::/64"

[[reservation]]
name = "printer"
public_key = "CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws="
addresses = ["10.44.0.7", "fd00:44::7"]
lease_time = "infinite"

[[peer]]
name = "laptop"
public_key = "CwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws="
routes = [{ network = "10.30.0.0/16", metric = 5 }]
dns = {}
"""


def seeds() -> Iterator[bytes]:
    """A document with everything, and its parts."""
    yield _DOCUMENT.encode()
    yield from (part.encode() for part in _DOCUMENT.split("\n\n"))


def words() -> Iterator[bytes]:
    """The lines of the document, and TOML's own."""
    yield from (line.encode() + b"\n" for line in _DOCUMENT.split("\n") if line)
    yield from (
        line.partition(" = ")[0].encode() for line in _DOCUMENT.split("\n") if " = " in line
    )
    yield from (b'"""', b"'", b"{ a = 1 }", b"1979-05-27T07:32:00Z", b"0x", b"nan", b"inf", b"1e9")
    yield from (
        b"true",
        b"[[",
        b"]]",
        b"\\u0000",
        b"\xff",
        b"'0.0.0.0/0'",
        b"'::/0'",
        b"a.b.c = 1\n",
    )


def check(data: bytes) -> None:
    """One file."""
    _PATH.write_bytes(data)
    try:
        terms = checked_terms(load_config(_PATH, "wg0"))
    except UsageError as error:
        lines = str(error).split("\n")
        for line in lines:
            assert line.startswith(f"{_PATH}: ")
            assert len(line) < _MAX_LINE
            assert line.isprintable()
        return
    assert _sent(terms) == terms


def _sent(terms: LeaseTerms) -> LeaseTerms:
    start = _CODEC.decode(_CODEC.encode(ServerStart("wg0", 1, without_parts(terms), (), "/x")))
    parts = [_CODEC.decode(_CODEC.encode(part)) for part in terms_parts(terms)]
    assert isinstance(start, ServerStart)
    return join_terms(start.terms, [part for part in parts if isinstance(part, TermsPart)])
