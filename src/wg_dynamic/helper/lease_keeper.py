"""The client's lease on the root side: judged, set, judged again when the machine moves, reported.

Theory of operation. The network process says what the server gave (ApplyLease). It is judged
against what the machine looks like now, and what is taken is set. When an address or a route of
another interface comes or goes, it is judged again, so that a network joined later is never moved:
at once, but after that no sooner than PAUSE seconds, nor than ten times what the last look took
(ten seconds at the most), however many events come. Only if the outcome is another one is anything
set.
"""

from wg_dynamic.address import format_address, is_link_local
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.applied import AppliedLease
from wg_dynamic.helper.judgement import Judgement, Taken, aged, judge
from wg_dynamic.helper.policy import Acceptance, Surroundings
from wg_dynamic.helper.qualify import server_peer
from wg_dynamic.helper.resolvers import name_servers_in_use
from wg_dynamic.netlink.control import (
    FOREVER,
    RT_TABLE_LOCAL,
    AddressEvent,
    Event,
    InterfaceControl,
    Link,
    LinkEvent,
    Overrun,
    RouteEvent,
)
from wg_dynamic.netlink.errors import InterfaceNotFoundError
from wg_dynamic.privsep.requests import (
    MAX_WHY,
    AddressSetting,
    Applied,
    ApplyLease,
    RefusedAddress,
)
from wg_dynamic.system.background import Verdict
from wg_dynamic.system.clock import Clock
from wg_dynamic.system.log import ERROR, INFO, WARNING, RateLimit, logger
from wg_dynamic.system.notify import notify
from wg_dynamic.wireguard.control import WireGuardControl

_LOG = logger(__name__)

PAUSE = 1.0
"""Seconds between two looks at the surroundings because of events."""
SHARE = 10
"""A look may take one part in so many of the time."""
PAUSE_MAX = 10.0
"""Seconds: and yet it comes after so many."""
TOLD_AT_A_TIME = 8
"""Refusals, or routes, of one lease that are logged; of the rest, how many."""
LINES = 60
"""Lines a minute that the network process, taken over or not, can make us write."""
TOLD = 1000
"""Refusals that are remembered as told."""


class LeaseKeeper:
    """Of one interface, from the first lease to the end."""

    def __init__(
        self,
        link: Link,
        interfaces: InterfaceControl,
        wireguard: WireGuardControl,
        applied: AppliedLease,
        *,
        accepts: Acceptance,
        verdict: Verdict,
        clock: Clock,
    ) -> None:
        self.link = link
        self._interfaces = interfaces
        self._wireguard = wireguard
        self._applied = applied
        self._accepts = accepts
        self._verdict = verdict
        self._clock = clock
        self._request = ApplyLease(())
        self._requested_at = 0.0
        self._judged = self._judgement = Judgement()
        """As judged last, and that with what could not be set."""
        self._our_name_servers: frozenset[bytes] = frozenset()
        self.taken_at = 0.0
        """When the times of `addresses` began to pass."""
        self.server_key: bytes | None = None
        """Of the peer that the lease was set for."""
        self.trouble = ""
        """Why the lease could not be set as a whole."""
        self._lines = RateLimit(clock.now, count=LINES)
        self._told: set[tuple[str, str]] = set()
        self._next_look = 0.0
        self.deadline: float | None = None
        """When `look_again` is due: CLOCK_BOOTTIME seconds."""

    # --- what the network process asks ----------------------------------------------------------

    def apply(self, request: ApplyLease) -> Applied:
        """Judge a lease and set what is taken of it."""
        self._request, self._requested_at = request, self._clock.now()
        self.deadline = None
        try:
            judgement, key = self._judge(request)
            return self._set(judgement, key)
        except InterfaceNotFoundError:
            return Applied(())  # the event that says so is on its way
        except WgDynamicError as error:
            return self._fail(error)

    def _judge(self, request: ApplyLease) -> tuple[Judgement, bytes]:
        device = self._wireguard.device()
        key = server_peer(self.link, device).public_key
        around = Surroundings(
            ifindex=self.link.ifindex,
            addresses=tuple(self._interfaces.addresses()),
            routes=tuple(self._interfaces.routes()),
            device=device,
            server_key=key,
            ours=self._applied.widened(),
            name_servers=tuple(
                one for one in name_servers_in_use() if one not in self._our_name_servers
            ),
            accepts=self._accepts,
        )
        judgement = judge(request, around, self._applied.mtu())
        fresh = frozenset(judgement.taken.name_servers) - frozenset(around.name_servers)
        self._our_name_servers = fresh
        return judgement, key

    def _set(self, judgement: Judgement, key: bytes) -> Applied:
        self._judged, self.taken_at, self.server_key = judgement, self._clock.now(), key
        judgement = judgement.without(self._applied.apply(judgement.taken, key))
        before, self._judgement = self._judgement, judgement
        self.trouble = ""
        self._tell(before, judgement)
        return judgement.answer()

    def _fail(self, error: WgDynamicError) -> Applied:
        if str(error) != self.trouble:
            self._log(ERROR, f"cannot set the lease: {error}")
        self.trouble = str(error)
        reason = str(error)[:MAX_WHY]
        return Applied(
            tuple(RefusedAddress(one.address, reason) for one in self._request.addresses)
        )

    # --- what happens around --------------------------------------------------------------------

    def notice(self, event: Event) -> None:
        """Something changed in the kernel: it may be time for another look."""
        if self._concerns(event) and self._request.addresses and self.deadline is None:
            self.deadline = max(self._clock.now(), self._next_look)

    def _concerns(self, event: Event) -> bool:
        match event:
            case Overrun():
                return True
            case AddressEvent():
                address = event.address
                own = address.ifindex == self.link.ifindex
                return not own and not is_link_local(address.prefix.packed)
            case RouteEvent():
                route = event.route
                own = route.ifindex == self.link.ifindex or route.table == RT_TABLE_LOCAL
                return not own and not is_link_local(route.prefix.packed)
            case LinkEvent():  # the kernel drops IPv4 routes with their link without a word
                own = event.link.ifindex == self.link.ifindex
                return not own and (event.gone or not event.link.up)

    def look_again(self) -> Applied | None:
        """Judge the last lease anew; the answer when it is another than before."""
        begin = self._clock.now()
        self.deadline = None
        request = aged(self._request, begin - self._requested_at)
        try:
            if not self._interfaces.link_by_index(self.link.ifindex).up:
                return None  # it is judged when the link is up again, and the lease set anew
            judgement, key = self._judge(request)
            took = self._clock.now() - begin
            self._next_look = begin + min(max(PAUSE, SHARE * took), PAUSE_MAX)
            if not request.addresses or (
                judgement.taken.timeless() == self._judged.taken.timeless()
                and judgement.reasons() == self._judged.reasons()
            ):
                return None
            return self._set(judgement, key)
        except InterfaceNotFoundError:
            return None
        except WgDynamicError as error:
            return self._fail(error)

    # --- what people are told -------------------------------------------------------------------

    def _tell(self, before: Judgement, now: Judgement) -> None:
        self._tell_refusals(now)
        name = self.link.name
        listed = ", ".join(str(one.address) for one in now.taken.addresses)
        was = ", ".join(str(one.address) for one in before.taken.addresses)
        if now.taken.addresses:
            time = now.taken.addresses[0].valid_time
            text = f"{name}: leased {listed} for {'ever' if time == FOREVER else f'{time} s'}"
            if listed != was:
                self._log(INFO, text)
            self._verdict.give(0, text)
            notify(f"STATUS={text}")
        elif now.addresses:
            reason = now.addresses[0].reason
            self._verdict.give(0, f"{name}: the lease was refused here: {reason}; going on trying")
        if was and not listed:
            self._log(INFO, f"{name}: no lease any more")
            notify(f"STATUS={name}: no lease any more")
        pushed = _in_words(now.taken)
        if pushed != _in_words(before.taken) and (pushed or listed):
            text = pushed or "nothing besides the addresses any more"
            self._log(INFO, f"{name}: {text}")

    def _tell_refusals(self, judgement: Judgement) -> None:
        """Each once, not with every renewal; a server that makes up new ones fills no log."""
        news = [each for each in judgement.reasons().items() if each not in self._told]
        if len(self._told) + len(news) > TOLD:
            self._told = set(judgement.reasons().items())
        self._told.update(news)
        for what, reason in news[:TOLD_AT_A_TIME]:
            self._log(WARNING, f"{what} is not taken: {reason}")
        if len(news) > TOLD_AT_A_TIME:
            more = len(news) - TOLD_AT_A_TIME
            self._log(WARNING, f"{more} more are not taken either")

    def _log(self, level: int, text: str) -> None:
        if self._lines.allow():
            _LOG.log(level, "%s", text)

    @property
    def addresses(self) -> tuple[AddressSetting, ...]:
        """Those taken, with the times that were left at `taken_at`."""
        return self._judgement.taken.addresses

    @property
    def refused(self) -> tuple[RefusedAddress, ...]:
        """The addresses that are not taken."""
        return self._judgement.addresses

    def pushed_status(self) -> dict[str, object]:
        """What `--status` says of what was pushed, where there is any."""
        taken = self._judgement.taken
        said: dict[str, object] = {
            "default_routes": [str(route.network) for route in taken.default_routes],
            "mtu": taken.mtu,
            "name_servers": [format_address(one) for one in taken.name_servers],
            "search": list(taken.search),
            "not_taken": [f"{one.what}: {one.reason}" for one in self._judgement.others],
        }
        return {name: value for name, value in said.items() if value}


def _in_words(taken: Taken) -> str:
    """What is in force besides the addresses."""
    words = []
    if taken.routes:
        listed = ", ".join(str(route.network) for route in taken.routes[:TOLD_AT_A_TIME])
        more = len(taken.routes) - TOLD_AT_A_TIME
        words.append(f"routes {listed}{f' and {more} more' if more > 0 else ''}")
    if taken.default_routes:
        listed = ", ".join(str(route.network) for route in taken.default_routes)
        words.append(f"all traffic ({listed})")
    if taken.mtu:
        words.append(f"MTU {taken.mtu}")
    if taken.name_servers:
        servers = ", ".join(map(format_address, taken.name_servers))
        words.append(f"name servers {servers}")
    if taken.search:
        words.append(f"search domains {', '.join(taken.search)}")
    return "; ".join(words)
