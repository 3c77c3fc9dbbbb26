"""Streams of the wg-dynamic protocol as others spoke them, and the words that they are made of."""

import re
from collections.abc import Iterator
from typing import Final

from tests.interop.test_version1_exchanges import EXCHANGES
from tools.protocol_table import DOCUMENT
from wg_dynamic.protocol import schema

MAX_SIZE: Final = 8192
"""Bytes of one input."""
PARSERS: Final = (
    "protocol.buffer",
    "protocol.codec",
    "protocol.connection",
    "protocol.values",
    "protocol.version1",
    "protocol.version2",
)
"""What reads them, on either side."""

_WIRE: Final = re.compile(r"^```wire ([a-z ]+)\n(.*?)^```$", re.M | re.S)


def streams(sender: str) -> Iterator[bytes]:
    """What a `client` or `server` says in docs/protocol.md and in recorded exchanges."""
    for who, text in _WIRE.findall(DOCUMENT.read_text(encoding="utf-8")):
        if who.startswith(sender):
            yield text.encode()
    for exchange in EXCHANGES.values():
        yield exchange.client if sender == "client" else exchange.server


def words() -> Iterator[bytes]:
    """Names of the schema table, and values of each kind."""
    for spec in (*schema.SCHEMA, schema.REFUSAL):
        if spec.command:
            yield f"{spec.command}={spec.version}\n".encode()
        for attribute in spec.attributes:
            yield f"{attribute.name}={attribute.literal}".encode()
        for section in spec.sections:
            yield f"section={section.name}\n".encode()
            for attribute in section.attributes:
                yield f"{attribute.name}={attribute.literal}".encode()
    numbers = (0, 1, schema.MAX_MTU, schema.MAX_INTERVAL, schema.MAX_NUMBER, schema.MAX_NUMBER + 1)
    yield from (b"%d\n" % number for number in numbers)
    yield from (
        b"\n\n",
        b"=",
        b",",
        b"/",
        b"\0",
        b"\r\n",
        b"+1",
        b"critical=x\n",
        b"frobnicate=2\n",
    )
    yield from (b"0.0.0.0", b"::", b"192.0.2.1/32", b"2001:db8::1/128", b"10.0.0.0/8", b"fe80::%1")
