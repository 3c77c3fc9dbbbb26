"""LeaseTable against a plain dict, batches and their undoing included."""

from math import inf
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wg_dynamic.address import parse_address
from wg_dynamic.leases.lease import Lease
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.table import LeaseTable

POOLS = [parse_pool(text) for text in ("10.0.0.0/30", "10.0.1.0/31", "fd00::/127")]
EXCLUDED = [parse_address("10.0.0.2")]
LEASED = [parse_address(t) for t in ("10.0.0.1", "10.0.1.0", "10.0.1.1", "fd00::", "fd00::1")]
OTHERS = [*EXCLUDED, parse_address("192.0.2.1"), parse_address("10.0.0.0")]
KEYS = [bytes([n]) * 32 for n in range(3)]

GRACE_TIME = 2.0

leases = st.builds(
    lambda key, address, ends_at, state: Lease(key, address, 60.0, ends_at, *state),
    st.sampled_from(KEYS),
    st.sampled_from(LEASED + OTHERS),
    st.one_of(st.integers(0, 9).map(float), st.integers(0, 200).map(float), st.just(inf)),
    st.sampled_from([(False, False), (True, False), (True, True)]),
)


class TableAgainstADict(RuleBasedStateMachine):
    @initialize()
    def begin_empty(self) -> None:
        self.table = LeaseTable(POOLS, iter(EXCLUDED), grace_time=GRACE_TIME)
        self.model: dict[bytes, Lease] = {}
        self.saved: dict[bytes, Lease] | None = None

    @rule(lease=leases)
    def put(self, lease: Lease) -> None:
        self.table.put(lease)
        self.model[lease.address] = lease

    @rule(address=st.sampled_from(LEASED + OTHERS))
    def forget(self, address: bytes) -> None:
        self.table.forget(address)
        self.model.pop(address, None)

    @rule()
    def begin(self) -> None:
        self.table.begin()
        self.saved = dict(self.model)

    @precondition(lambda self: self.saved is not None)
    @rule()
    def rollback(self) -> None:
        assert self.saved is not None
        self.table.rollback()
        self.model = dict(self.saved)

    @rule()
    def change_the_pools_and_back(self) -> None:
        self.table.begin()
        self.saved = None
        self.table.change_pools(POOLS[:1], grace_time=0.0)
        self.table.change_pools([POOLS[2], POOLS[0]], iter(EXCLUDED), grace_time=9.0)
        self.table.change_pools(POOLS, iter(EXCLUDED), grace_time=GRACE_TIME)

    @rule()
    def what_has_no_end_is_found(self) -> None:
        held = [one for one in self.model.values() if not one.ended and one.ends_at == inf]
        by_address = sorted(self.table.endless(), key=lambda one: one.address)
        assert by_address == sorted(held, key=lambda one: one.address)

    @rule(now=st.integers(-1, 10))
    def what_is_due_is_due_once(self, now: int) -> None:
        due = self.table.due(float(now))
        over = [one for one in self.model.values() if not one.ended and one.ends_at <= now]
        assert sorted(due, key=lambda one: one.address) == sorted(over, key=lambda o: o.address)
        assert [one.ends_at for one in due] == sorted(one.ends_at for one in over)

    @rule(
        seed=st.integers(0, 2**32),
        now=st.integers(0, 12),
        fenced=st.sets(st.sampled_from(LEASED)),
    )
    def a_newcomer_gets_what_there_is(self, seed: int, now: int, fenced: set[bytes]) -> None:
        for ipv4 in (True, False):
            found = self.table.choose(
                float(now),
                ipv4=ipv4,
                usable=lambda address: address not in fenced,
                random_below=Random(seed).randrange,  # noqa: S311 - not a secret
            )
            open_ = [a for a in LEASED if a not in fenced and (len(a) == 4) is ipv4]
            free = [address for address in open_ if address not in self.model]
            ends = {a: self.model[a].ends_at for a in open_ if a in self.model}
            memories = [a for a in ends if self.model[a].ended and ends[a] + GRACE_TIME <= now]
            if free:
                assert found in free
            elif memories:
                assert found in memories
                assert ends[found] == min(ends[address] for address in memories)
            else:
                assert found is None

    @rule(key=st.sampled_from(KEYS), limit=st.integers(0, 3), now=st.integers(0, 12))
    def what_is_too_much_is_the_longest_ended(self, key: bytes, limit: int, now: int) -> None:
        excess = self.table.excess(key, limit, float(now))
        for size in (4, 16):
            memories = [
                one
                for one in self.model.values()
                if one.public_key == key and one.ended and len(one.address) == size
                if one.ends_at + GRACE_TIME <= now
            ]
            too_much = [address for address in excess if len(address) == size]
            assert len(too_much) == max(0, len(memories) - limit)
            kept = [one.ends_at for one in memories if one.address not in too_much]
            for address in too_much:
                assert all(self.model[address].ends_at <= ends_at for ends_at in kept)

    @invariant()
    def it_says_what_the_dict_says(self) -> None:
        held = {one.address: one for one in self.model.values() if not one.ended}
        assert len(self.table) == len(held)
        assert {one.address: one for one in self.table.held()} == held
        for place, pool in enumerate(POOLS):
            assert self.table.held_in[place] == sum(pool.covers(address) for address in held)
        assert sorted(self.table.addresses()) == sorted(self.model)
        ends = [one.ends_at for one in held.values() if one.ends_at < inf]
        assert self.table.next_end() == min(ends, default=None)
        for address in LEASED + OTHERS:
            lease = self.model.get(address)
            assert self.table.get(address) == lease
            ours = any(pool.leases(address) for pool in POOLS) and address not in EXCLUDED
            for key in KEYS:
                own = lease is not None and lease.public_key == key and not lease.declined
                old = lease is not None and lease.ended and lease.ends_at + GRACE_TIME <= 5.0
                may = lease is None or own or old
                assert self.table.is_available(address, key, 5.0) is (ours and may)
        for key in KEYS:
            of_peer = {one.address: one for one in self.table.of_peer(key)}
            assert of_peer == {a: one for a, one in self.model.items() if one.public_key == key}

    @invariant()
    def it_knows_what_the_batch_has_changed(self) -> None:
        if self.saved is not None:
            before = self.table.before()
            for address in LEASED + OTHERS:
                old = before.get(address, self.model.get(address))
                assert old == self.saved.get(address)


TableAgainstADict.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestTableAgainstADict: Any = TableAgainstADict.TestCase
