from contextlib import suppress
from pathlib import Path

import pytest

from wg_dynamic.address import parse_address
from wg_dynamic.helper import resolvers
from wg_dynamic.helper.resolvers import name_servers_in_use, read_name_servers


def test_name_servers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    assert read_name_servers(path) == ()
    path.write_bytes(
        b"# nameserver 192.0.2.9\nsearch example\nnameserver\nnameserver 192.0.2.1\n"
        b"nameserver  fe80::1%eth0 # router\nnameserver caf\xe9\nnameserver 2001:db8::1"
    )
    expected = ("192.0.2.1", "fe80::1", "2001:db8::1")
    assert read_name_servers(path) == tuple(map(parse_address, expected))
    with suppress(OSError):
        assert read_name_servers(tmp_path) == ()


def test_those_behind_the_stub_of_systemd_resolved_count_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = (tmp_path / "stub", tmp_path / "real", tmp_path / "missing")
    paths[0].write_text("nameserver 127.0.0.53\nnameserver 192.0.2.1\n")
    paths[1].write_text("nameserver 192.0.2.1\nnameserver 192.0.2.2\n")
    monkeypatch.setattr(resolvers, "RESOLV_CONFS", paths)
    expected = ("127.0.0.53", "192.0.2.1", "192.0.2.2")
    assert name_servers_in_use() == tuple(map(parse_address, expected))
