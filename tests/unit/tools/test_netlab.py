import pytest

from tools.netlab import Keys, Lab, LabError, PeerConfig


def test_a_peer_is_written_as_wg_reads_it() -> None:
    peer = PeerConfig("KEY=", ["fe80::1/128", "0.0.0.0/0"], "192.0.2.1:51820", 25)
    assert peer.lines() == [
        "[Peer]",
        "PublicKey = KEY=",
        "AllowedIPs = fe80::1/128, 0.0.0.0/0",
        "Endpoint = 192.0.2.1:51820",
        "PersistentKeepalive = 25",
    ]
    assert PeerConfig("KEY=").lines() == ["[Peer]", "PublicKey = KEY="]


def test_keys_do_not_show_their_private_half() -> None:
    assert "SECRET" not in repr(Keys("SECRET", "public"))


def test_the_backend_comes_from_the_environment_unless_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WG_DYNAMIC_TEST_BACKEND", "kernel")
    assert Lab().kind == "kernel"
    assert Lab(kind="wireguard-go").kind == "wireguard-go"
    monkeypatch.setenv("WG_DYNAMIC_TEST_BACKEND", "boringtun")
    with pytest.raises(LabError, match="'boringtun', expected auto, kernel or wireguard-go"):
        Lab()


def test_a_lab_that_is_not_open_makes_no_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LabError, match="not open"):
        Lab().host("a")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root"), Lab():
        pass
