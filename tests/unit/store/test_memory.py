"""MemoryStore keeps the contract of every LeaseStore."""

import pytest

from tests.contract.lease_store import LeaseStoreContract
from wg_dynamic.store.memory import MemoryStore


class TestMemoryStore(LeaseStoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()
