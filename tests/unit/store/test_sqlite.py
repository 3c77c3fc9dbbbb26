"""SqliteStore in memory; files, crashes and full disks are for tests/integration."""

import resource
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.contract.lease_store import LeaseStoreContract, a_lease
from tests.fakes.clock import FakeClock
from wg_dynamic.leases.lease import Lease
from wg_dynamic.store.base import Moment, StoreError
from wg_dynamic.store.sqlite import MIGRATIONS, SqliteStore


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    store = SqliteStore(Path(":memory:"))
    yield store
    store.close()


class TestSqliteStore(LeaseStoreContract):
    @pytest.fixture
    def store(self) -> Iterator[SqliteStore]:
        store = SqliteStore(Path(":memory:"))
        yield store
        store.close()


def test_a_conflict_says_how_many(store: SqliteStore) -> None:
    moment = FakeClock().moment()
    store.commit([a_lease("192.0.2.1"), a_lease("192.0.2.2")], moment)
    others = [a_lease(f"192.0.2.{n}", b"b" * 32) for n in (1, 2, 3)]
    with pytest.raises(StoreError, match=r"2 of 3 addresses are held by another peer"):
        store.commit(others, moment)


@pytest.mark.parametrize(
    "lease",
    [
        a_lease(peer=b"short"),
        a_lease(ends_at=float("nan")),
        a_lease(lease_time=float("nan")),
    ],
)
def test_what_is_no_lease_is_not_stored(store: SqliteStore, lease: object) -> None:
    moment = FakeClock().moment()
    with pytest.raises(StoreError, match="cannot write the lease database"):
        store.commit([a_lease("192.0.2.1"), lease], moment)  # type: ignore[list-item]
    assert store.load(moment) == []


def test_an_address_of_another_size_is_not_stored(store: SqliteStore) -> None:
    lease = a_lease()
    object.__setattr__(lease, "address", b"12345")
    with pytest.raises(StoreError, match="cannot write"):
        store.commit([lease], FakeClock().moment())


def test_a_whole_file_has_nothing_to_complain_about(store: SqliteStore) -> None:
    store.commit([a_lease()], FakeClock().moment())
    assert store.check() == []


def test_a_closed_store_says_so(store: SqliteStore) -> None:
    store.close()
    for call in (
        lambda: store.load(FakeClock().moment()),
        lambda: store.commit([a_lease()], FakeClock().moment()),
        store.check,
    ):
        with pytest.raises(StoreError, match="closed"):
            call()


def test_the_migrations_are_there_and_in_order() -> None:
    assert list(MIGRATIONS) == sorted(MIGRATIONS)
    directory = Path(SqliteStore.__init__.__globals__["__file__"]).parent / "migrations"
    assert sorted(path.name for path in directory.glob("*.sql")) == list(MIGRATIONS)


def test_a_large_commit_opens_no_file_for_a_network_process_may_not(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "leases.sqlite")
    moment = Moment(1.0, 2.0, "boot")
    random = Random(1)  # noqa: S311 - addresses
    leases = [Lease(random.randbytes(32), random.randbytes(16), 60.0, 1060.0) for _ in range(6000)]
    store.commit(leases[:2000], moment)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        for at in range(2000, 6000, 2000):
            store.commit(leases[at : at + 2000], moment)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(store.load(moment)) == len(leases)
    store.close()
