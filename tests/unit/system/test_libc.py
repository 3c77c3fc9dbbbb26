import errno
import os
import socket

import pytest

from wg_dynamic.system import libc

PR_GET_DUMPABLE = 3
SYS_GETPID = {"x86_64": 39}


def test_what_a_call_returns_is_returned() -> None:
    assert libc.prctl(PR_GET_DUMPABLE) in (0, 1, 2)


def test_what_the_kernel_refuses_is_an_error_with_its_number() -> None:
    with pytest.raises(OSError, match="Invalid argument") as refused:
        libc.prctl(123456)
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="Invalid argument"):
        libc.unshare(1)
    with pytest.raises(OSError, match="Function not implemented"):
        libc.system_call(100_000, None, b"", 1)
    with pytest.raises(OSError, match="Bad address"):
        libc.capset(None, None)
    with pytest.raises(OSError, match=r"Bad address|Invalid argument"):
        libc.capget(None, None)


def test_a_connection_is_taken_with_the_address_it_came_from() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        listener.setblocking(False)
        acceptor = libc.Acceptor(listener.fileno())
        assert acceptor.accept() is None
        with socket.create_connection(listener.getsockname()[:2]) as outside:
            accepted = acceptor.accept()
            assert accepted is not None
            descriptor, address = accepted
            os.close(descriptor)
            assert len(address) == libc.SOCKADDR_IN6_SIZE
            assert address[2:4] == outside.getsockname()[1].to_bytes(2, "big")
            assert address[8:24] == bytes(15) + b"\1"
    with pytest.raises(OSError, match="Bad file descriptor"):
        acceptor.accept()
