"""The MTU of the interface: lowered for a lease, and put back.

The ledger has what was there and what we set, before it is set. So whoever finds the interface with
another MTU than ours knows that somebody has changed it since, and leaves it alone.
"""

from wg_dynamic.netlink.control import InterfaceControl
from wg_dynamic.privsep.ledger import MTU, Ledger, Setting


class LinkMtu:
    """Of one interface."""

    def __init__(self, ifindex: int, interfaces: InterfaceControl, ledger: Ledger) -> None:
        self._ifindex = ifindex
        self._interfaces = interfaces
        self._ledger = ledger

    def found(self) -> int:
        """The MTU that the interface has, or had before us. Raises NetlinkError."""
        return self._before(self._now())

    def apply(self, mtu: int) -> None:
        """Lower it to this; what is not lower than `found`, 0 say, puts it back.

        Raises NetlinkError, LedgerError.
        """
        now = self._now()
        before = self._before(now)
        if not 0 < mtu < before:
            self.put_back()
            return
        entry = Setting(MTU, (str(before), str(mtu)))
        self._ledger.add(entry)
        if now != mtu:
            self._interfaces.set_link_mtu(self._ifindex, mtu)
        self._ledger.remove(*[each for each in self._ledger.settings(MTU) if each != entry])

    def put_back(self) -> None:
        """Undo it, unless somebody else has changed it since. Raises NetlinkError."""
        entries = self._ledger.settings(MTU)
        if not entries:
            return
        now = self._now()
        before = self._before(now)
        if before != now:
            self._interfaces.set_link_mtu(self._ifindex, before)
        self._ledger.remove(*entries)

    def _now(self) -> int:
        return self._interfaces.link_by_index(self._ifindex).mtu

    def _before(self, now: int) -> int:
        """What was there before ours, if it is ours that is there now."""
        for entry in self._ledger.settings(MTU):
            if len(entry.words) == 2 and all(map(str.isdecimal, entry.words)):  # noqa: PLR2004
                before, ours = map(int, entry.words)
                if now == ours:
                    return before
        return now
