"""Whatever peers ask for and whatever fails: no address has two holders, what is acknowledged
is durable and in force, and what is over is not.
"""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.server import ALICE, BOB, CAROL, LEASE_TIME, Server, release_of, request_for
from wg_dynamic.address import format_address, parse_prefix
from wg_dynamic.protocol import ErrorCode, ReleaseIP, ReleaseIPReply, RequestIP, RequestIPReply
from wg_dynamic.server.replies import Answer

PEERS = st.sampled_from([ALICE, BOB, CAROL])
WISHES = st.sampled_from(
    ["0.0.0.0", "192.0.2.1", "192.0.2.2", "192.0.2.5", "203.0.113.1"]  # noqa: S104 - any address
)


@dataclass(frozen=True)
class Step:
    """Something that happens; `text` is for who reads a failure."""

    text: str
    do: Callable[["Story"], object]

    def __repr__(self) -> str:
        return self.text


class Story:
    """A server, and the answers that are still awaited."""

    def __init__(self) -> None:
        self.server = Server("192.0.2.0/29")
        self.server.on_answer = self.check_answer
        self.awaited: list[tuple[bytes, asyncio.Future[Answer]]] = []
        self.faults: list[str] = []
        self.disturbed = False
        """Somebody has had a hand in the allowed IPs, or time has passed, since the last look."""

    def request(self, key: bytes, wish: str, version: int) -> None:
        self.submit(key, request_for(wish, version=version))

    def release(self, key: bytes) -> None:
        self.submit(key, release_of())

    def submit(self, key: bytes, request: RequestIP | ReleaseIP) -> None:
        self.awaited.append((key, self.server.submit(key, request)))

    async def settle(self) -> None:
        """Let everything be answered, compare with the interface, and look."""
        last = {key: await answer for key, answer in self.awaited}
        self.awaited.clear()
        assert self.faults == []
        for key, answer in last.items():
            if isinstance(answer, ReleaseIPReply) and answer.errno == ErrorCode.SUCCESS:
                assert key not in self.held().values(), "released, and held"
        if not self.disturbed:
            self.check_held()
        await self.server.read_peers()
        await self.server.read_peers()
        self.disturbed = False
        self.check()

    def check_answer(self, key: bytes, answer: Answer) -> None:
        if answer.errno == ErrorCode.STORE_DOWN and not self.server.store.fails:
            self.faults.append("the store works, and is said to be down")
        if isinstance(answer, RequestIPReply):
            stored = self.server.stored()
            if any(stored.get(str(one.ip)) != key for one in answer.addresses):
                self.faults.append("acknowledged, and not durable")

    def held(self) -> dict[str, bytes]:
        now = self.server.clock.now()
        return {
            format_address(lease.address): lease.public_key
            for lease in self.server.table.held()
            if not lease.is_over(now)
        }

    def check_held(self) -> None:
        """What is leased is in force, but for peers that are away and what is refused."""
        there = self.server.allowed_ips
        for address, key in self.held().items():
            prefix = parse_prefix(f"{address}/32")
            if key in there.keys and prefix not in there.refuse:
                assert there.leased.get(prefix) == key, "leased, and not in force"

    def check(self) -> None:
        """All that holds once nothing is on its way any more."""
        server, held = self.server, self.held()
        self.check_held()
        for prefix, key in server.allowed_ips.leased.items():
            assert held.get(format_address(prefix.packed)) == key, "in force, and not leased"
        if not server.store.fails:
            assert held == server.held() == server.stored()


def fail(*, fails: bool) -> Step:
    def do(story: Story) -> None:
        story.server.store.fails = fails

    return Step(f"store fails: {fails}", do)


def refuse(address: str, *, refused: bool) -> Step:
    def do(story: Story) -> None:
        story.disturbed = True
        refuse = story.server.allowed_ips.refuse
        prefix = parse_prefix(f"{address}/32")
        if refused and prefix not in story.server.allowed_ips.leased:
            refuse[prefix] = "so told"
        else:
            refuse.pop(prefix, None)

    return Step(f"{address} refused: {refused}", do)


def leave_or_return(key: bytes, *, there: bool) -> Step:
    def do(story: Story) -> None:
        story.disturbed = True
        if there:
            story.server.allowed_ips.add_peer(key)
        else:
            leased = story.server.allowed_ips.leased
            story.server.allowed_ips.keys.discard(key)
            for prefix in [prefix for prefix, owner in leased.items() if owner == key]:
                del leased[prefix]

    return Step(f"peer {key[0]} there: {there}", do)


def sync_configuration(story: Story) -> None:
    story.disturbed = True
    story.server.allowed_ips.leased.clear()


def wait(seconds: float) -> Step:
    def do(story: Story) -> None:
        story.server.clock.pass_time(seconds)

    return Step(f"{seconds} s pass", do)


ASK = st.builds(
    lambda key, wish, version: Step(
        f"peer {key[0]} asks for {wish} in version {version}",
        lambda story: story.request(key, wish, version),
    ),
    PEERS,
    WISHES,
    st.sampled_from([1, 2]),
)
RELEASE = st.builds(
    lambda key: Step(f"peer {key[0]} releases", lambda story: story.release(key)), PEERS
)
WAIT = st.builds(wait, st.sampled_from([1.0, LEASE_TIME / 2, LEASE_TIME - 1.0, LEASE_TIME]))
TROUBLE = st.one_of(
    st.builds(lambda fails: fail(fails=fails), st.booleans()),
    st.builds(
        lambda address, refused: refuse(address, refused=refused),
        st.sampled_from(["192.0.2.1", "192.0.2.2"]),
        st.booleans(),
    ),
    st.builds(
        lambda key, there: leave_or_return(key, there=there),
        st.sampled_from([ALICE, BOB]),
        st.booleans(),
    ),
    st.just(Step("syncconf", sync_configuration)),
)
LOOK = Step("look", Story.settle)
STEPS = st.one_of(ASK, ASK, ASK, RELEASE, WAIT, TROUBLE, st.just(LOOK), st.just(LOOK))


async def live(batches: list[list[Step]]) -> None:
    """Each list of steps is the life of one process."""
    story = Story()
    for batch in batches:
        async with story.server.running():
            for step in [*batch, LOOK]:
                doing = step.do(story)
                if inspect.isawaitable(doing):
                    await doing
        story.server.restart()


@given(st.lists(st.lists(STEPS, min_size=5, max_size=30), min_size=1, max_size=3))
def test_leases_allowed_ips_and_store_agree_whatever_happens(batches: list[list[Step]]) -> None:
    asyncio.run(live(batches))
