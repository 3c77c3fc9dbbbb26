"""The filter in force, and its numbers against those that libseccomp knows."""

import ctypes
import json
import subprocess
import sys

import pytest

from tools.processes import environment
from wg_dynamic.privsep.system_calls import ARCHITECTURES, NUMBERS


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_numbers_are_those_of_libseccomp(machine: str) -> None:
    library = ctypes.CDLL("libseccomp.so.2")
    resolve = library.seccomp_syscall_resolve_name_arch
    resolve.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    architecture, column = ARCHITECTURES[machine]
    for name, numbers in NUMBERS.items():
        number = resolve(architecture, name.encode())
        assert numbers[column] == (number if number >= 0 else None), name  # negative: no such call


SCRIPT = """
import ctypes, json, logging, os, resource, signal, socket, sys, threading
from wg_dynamic.privsep import seccomp
from wg_dynamic.privsep.sandbox import {kind}, Sandbox
from wg_dynamic.system import libc
pair = socket.socketpair()
libc.prctl(38, 1)
sandbox = Sandbox([], tell=True)
sandbox.close({kind})
def outcome(action):
    try:
        action()
        return "done"
    except (OSError, RuntimeError, ValueError) as error:
        return str(error)
def traceback_of(action):
    try:
        action()
    except ZeroDivisionError:
        return logging.Formatter().formatException(sys.exc_info()).splitlines()[-1]
def thread():
    one = threading.Thread(target=lambda: None)
    one.start()
    one.join()
print(json.dumps([
    outcome(lambda: (pair[0].send(b"x"), pair[1].recv(1), socket.send_fds(pair[0], [b"x"], [1]))),
    outcome(thread),
    outcome(socket.socket),
    outcome(os.fork),
    outcome(lambda: resource.getrlimit(resource.RLIMIT_NOFILE)),
    outcome(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))),
    outcome(lambda: ctypes.CDLL(None).gettid()),
    traceback_of(lambda: 1 / 0),
]), flush=True)
os.abort()
"""


@pytest.mark.parametrize(("kind", "starts_threads"), [("CLIENT", False), ("SERVER", True)])
def test_what_the_process_needs_goes_on(kind: str, starts_threads: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(kind=kind)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    messages, thread, new_socket, fork, limit, raised, last, trace = json.loads(done.stdout)
    assert (messages, limit, last) == ("done", "done", "done")
    assert (thread == "done") == starts_threads
    assert new_socket == fork == "[Errno 1] Operation not permitted"
    assert raised != "done"
    assert trace == "ZeroDivisionError: division by zero", "though no source can be read"
    assert done.stderr == "", "it has all walls"
    assert done.returncode == -6, "it can end itself by a signal"
