"""LeaseTable against a plain dict, batches and their undoing included."""

from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wg_dynamic.address import parse_address
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import find_pool, parse_pool
from wg_dynamic.leases.table import LeaseTable

POOLS = [parse_pool(text) for text in ("10.0.0.0/30", "10.0.1.0/31", "fd00::/127")]
EXCLUDED = [parse_address("10.0.0.2")]
LEASED = [parse_address(t) for t in ("10.0.0.1", "10.0.1.0", "10.0.1.1", "fd00::", "fd00::1")]
OTHERS = [*EXCLUDED, parse_address("192.0.2.1"), parse_address("10.0.0.0")]
KEYS = [bytes([n]) * 32 for n in range(3)]

leases = st.builds(
    Lease,
    st.sampled_from(KEYS),
    st.sampled_from(LEASED + OTHERS),
    st.just(60.0),
    st.integers(0, 9).map(float),
    st.booleans(),
)


class TableAgainstADict(RuleBasedStateMachine):
    @initialize()
    def begin_empty(self) -> None:
        self.table = LeaseTable(POOLS, iter(EXCLUDED))
        self.model: dict[bytes, Lease] = {}
        self.memories: list[bytes] = []
        """Addresses of memories that a newcomer may get, in the order they were ended."""
        self.saved: tuple[dict[bytes, Lease], list[bytes]] | None = None

    @rule(lease=leases)
    def put(self, lease: Lease) -> None:
        self.table.put(lease)
        self.model[lease.address] = lease
        if lease.address in self.memories:
            self.memories.remove(lease.address)
        if lease.ended and lease.address in LEASED:
            self.memories.append(lease.address)

    @rule()
    def begin(self) -> None:
        self.table.begin()
        self.saved = dict(self.model), list(self.memories)

    @precondition(lambda self: self.saved is not None)
    @rule()
    def rollback(self) -> None:
        assert self.saved is not None
        self.table.rollback()
        self.model, self.memories = dict(self.saved[0]), list(self.saved[1])

    @rule(now=st.integers(-1, 10))
    def what_is_due_is_due_once(self, now: int) -> None:
        due = self.table.due(float(now))
        over = [one for one in self.model.values() if not one.ended and one.ends_at <= now]
        assert sorted(due, key=lambda one: one.address) == sorted(over, key=lambda o: o.address)
        assert [one.ends_at for one in due] == sorted(one.ends_at for one in over)

    @rule(seed=st.integers(0, 2**32), fenced=st.sets(st.sampled_from(LEASED)))
    def a_newcomer_gets_what_there_is(self, seed: int, fenced: set[bytes]) -> None:
        for ipv4 in (True, False):
            found = self.table.choose(
                ipv4=ipv4,
                usable=lambda address: address not in fenced,
                random_below=Random(seed).randrange,  # noqa: S311 - not a secret
            )
            open_ = [a for a in LEASED if a not in fenced and (len(a) == 4) is ipv4]
            free = [address for address in open_ if address not in self.model]
            memories = [address for address in self.memories if address in open_]
            if free:
                assert found in free
            else:
                assert found == (memories[0] if memories else None)

    @invariant()
    def it_says_what_the_dict_says(self) -> None:
        held = {one.address: one for one in self.model.values() if not one.ended}
        assert len(self.table) == len(held)
        assert {one.address: one for one in self.table.held()} == held
        assert self.table.next_end() == min((o.ends_at for o in held.values()), default=None)
        for address in LEASED + OTHERS:
            lease = self.model.get(address)
            assert self.table.get(address) == lease
            ours = find_pool(POOLS, address) is not None and address not in EXCLUDED
            for key in KEYS:
                may = lease is None or lease.ended or lease.public_key == key
                assert self.table.is_available(address, key) is (ours and may)
        for key in KEYS:
            of_peer = {one.address: one for one in self.table.of_peer(key)}
            assert of_peer == {a: one for a, one in self.model.items() if one.public_key == key}

    @invariant()
    def it_knows_what_the_batch_has_changed(self) -> None:
        if self.saved is not None:
            before = self.table.before()
            for address in LEASED + OTHERS:
                old = before.get(address, self.model.get(address))
                assert old == self.saved[0].get(address)


TableAgainstADict.TestCase.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None
)
TestTableAgainstADict: Any = TableAgainstADict.TestCase
