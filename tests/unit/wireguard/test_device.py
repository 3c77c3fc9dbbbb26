from dataclasses import FrozenInstanceError

import pytest

from wg_dynamic.wireguard.device import Device, Peer


def test_what_is_read_is_a_value() -> None:
    peer = Peer(b"k" * 32)
    assert peer == Peer(b"k" * 32, (), None, 0.0, 0)
    assert Device(None, 0, 0, (peer,)) == Device(None, 0, 0, (Peer(b"k" * 32),))
    with pytest.raises(FrozenInstanceError):
        peer.persistent_keepalive = 1  # type: ignore[misc]
