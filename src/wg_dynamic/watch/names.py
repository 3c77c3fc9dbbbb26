"""Names of peers that have a lease, as a hosts file (hosts(5)) that dnsmasq reads. Pure.

A name is what an operator gave a peer, made into one label. Nobody gets a name that another peer
has, nor one by which machines find what they trust without asking whose it is.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wg_dynamic.leases.event import BEGINNINGS

FORBIDDEN: Final = frozenset(
    {
        *("localhost", "localdomain", "broadcasthost", "ip6-localhost", "ip6-loopback"),
        *("wpad", "isatap", "autoconfig", "autodiscover", "mta-sts", "_acme-challenge"),
    }
)
MAX_LABEL: Final = 63
_OTHER: Final = re.compile(r"[^a-z0-9]+")
_ADDRESS: Final = re.compile(r"[0-9a-fA-F:.]{2,45}")
_TOP: Final = "# Made by wg-dynamic-watch for {interface}, over and over: changes are lost.\n"


def label_of(name: str) -> str:
    """Lower case letters, digits and single hyphens inside; '' when nothing is left of it.

    Letters of other scripts are dropped, not transcribed: two names must not look alike.
    """
    return _OTHER.sub("-", name.lower()).strip("-")[:MAX_LABEL].rstrip("-")


class Names:
    """Who has which name, and which addresses it stands for."""

    def __init__(self, interface: str, suffix: str, reserved: Iterable[str] = ()) -> None:
        self._interface = interface
        self._suffix = suffix
        self._reserved = FORBIDDEN | {one.lower() for one in reserved}
        self._holders: dict[str, str] = {}
        """Label -> public key."""
        self._labels: dict[str, str] = {}
        """The other way round."""
        self._addresses: dict[str, str] = {}
        """Address -> public key."""

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take over all leases that are held, as `leases` tells them. Holders keep their names."""
        self._addresses.clear()
        for row in rows:
            self._take(row)
        held = set(self._addresses.values())
        for key in [key for key in self._labels if key not in held]:
            self._drop(key)

    def tell(self, event: Mapping[str, Any]) -> bool:
        """One event; whether the text is another one now."""
        address = event.get("address")
        if not isinstance(address, str):
            return False
        if event.get("event") in BEGINNINGS:
            return self._take(event)
        key = self._addresses.pop(address, None)
        if key is not None and key not in self._addresses.values():
            self._drop(key)
        return key is not None

    def _take(self, row: Mapping[str, Any]) -> bool:
        address, key, name = row.get("address"), row.get("public_key"), row.get("name")
        if not (isinstance(address, str) and isinstance(key, str) and isinstance(name, str)):
            return False
        label = label_of(name)
        known = self._addresses.get(address) == key and self._labels.get(key) == label
        if known or not _ADDRESS.fullmatch(address) or not label or label in self._reserved:
            return False
        if self._holders.get(label, key) != key:
            return False  # the first holder keeps it
        if self._labels.get(key) != label:
            self._drop(key)
            self._holders[label] = key
            self._labels[key] = label
        self._addresses[address] = key
        return True

    def _drop(self, key: str) -> None:
        label = self._labels.pop(key, None)
        if label is not None:
            del self._holders[label]

    def text(self) -> str:
        """The file: a line for each address that has a name."""
        lines = [
            f"{address} {label}.{self._suffix}\n"
            for address, key in self._addresses.items()
            if (label := self._labels.get(key)) is not None
        ]
        return _TOP.format(interface=self._interface) + "".join(sorted(lines))
