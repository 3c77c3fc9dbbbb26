"""The filter, run by an interpreter of its language; in force it is tests/netns and integration."""

import ctypes
import struct
from typing import Any

import pytest

from wg_dynamic.privsep import seccomp
from wg_dynamic.privsep.seccomp import (
    ALLOW,
    ENOSYS,
    EPERM,
    ERRNO,
    KILL,
    NEW_CALLS,
    Rule,
    Word,
    allowed_calls,
    assemble,
    check_rules,
    client_rules,
    server_rules,
    this_machine,
)
from wg_dynamic.privsep.system_calls import ARCHITECTURES, NUMBERS

PID = 1234
Program = list[tuple[int, int, int, int]]


def run(program: Program, number: int, *arguments: int, architecture: int = 0xC000003E) -> int:
    """What the kernel would do: bpf(4), struct seccomp_data."""
    words = [*arguments, *[0] * 6][:6]
    data = struct.pack("<iIQ6Q", number, architecture, 0, *[word % (1 << 64) for word in words])
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x54:
                accumulator &= operand
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x35:
                at += if_true if accumulator >= operand else if_false
            case 0x06:
                return operand
            case _:
                pytest.fail(f"unknown instruction {code:#x}")


def call(program: Program, name: str, *arguments: int) -> bool:
    """Whether a call by name is allowed on x86-64; if not, it fails with EPERM."""
    number = NUMBERS[name][0]
    assert number is not None
    result = run(program, number, *arguments)
    assert result in (ALLOW, ERRNO | EPERM)
    return result == ALLOW


@pytest.fixture(scope="module")
def client() -> Program:
    return assemble(client_rules(PID), "x86_64")


@pytest.fixture(scope="module")
def server() -> Program:
    return assemble(server_rules(PID), "x86_64")


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("rules", [client_rules, server_rules, check_rules])
def test_what_is_named_without_a_condition_is_allowed_and_the_rest_is_not(
    rules: Any, machine: str
) -> None:
    named: dict[str, Rule] = rules(PID)
    program = assemble(named, machine)
    architecture, column = ARCHITECTURES[machine]
    free = {NUMBERS[name][column] for name, rule in named.items() if not rule}
    conditional = {NUMBERS[name][column] for name, rule in named.items() if rule}
    for number in range(500):
        if number in conditional:
            continue
        refused = ERRNO | (ENOSYS if number >= NEW_CALLS else EPERM)
        expected = ALLOW if number in free else refused
        assert run(program, number, architecture=architecture) == expected, number


def test_another_machine_s_convention_ends_the_process(client: Program) -> None:
    assert run(client, 0, architecture=0x40000003) == KILL, "32 bits"
    x32 = 1 << 30
    assert run(client, x32 | 0) == ERRNO | ENOSYS


@pytest.mark.parametrize("number", [56, 57, 58, 59, 322])
def test_the_client_starts_nothing(client: Program, number: int) -> None:
    """clone, fork, vfork, execve, execveat."""
    assert run(client, number, 0x10000) == ERRNO | EPERM


def test_the_server_starts_threads_and_nothing_else(server: Program) -> None:
    pthread_create = 0x3D0F00
    assert call(server, "clone", pthread_create)
    assert not call(server, "clone", 0x11), "SIGCHLD: a process"
    assert not call(server, "clone", 0x4111)
    for number in (57, 58, 59, 322):
        assert run(server, number) == ERRNO | EPERM
    assert run(server, 435) == ERRNO | ENOSYS, "clone3, whose flags cannot be seen"


@pytest.mark.parametrize("number", [41, 42, 49])
def test_no_socket_is_made_connected_or_bound(
    client: Program, server: Program, number: int
) -> None:
    assert run(client, number) == run(server, number) == ERRNO | EPERM


def test_what_is_sent_goes_where_the_socket_goes(client: Program) -> None:
    fast_open = 0x20000000
    assert call(client, "sendto", 5, 0x7000, 10, 0x4000, 0, 0)
    assert not call(client, "sendto", 5, 0x7000, 10, 0, 0x7000, 28)
    assert not call(client, "sendto", 5, 0x7000, 10, 0, 1 << 40, 28), "the upper half counts"
    assert not call(client, "sendto", 5, 0x7000, 10, fast_open, 0, 0)
    assert call(client, "sendmsg", 5, 0x7000, 0x4000)
    assert not call(client, "sendmsg", 5, 0x7000, fast_open | 0x4000)


def test_nothing_becomes_code(client: Program) -> None:
    for name in ("mmap", "mprotect"):
        assert call(client, name, 0, 4096, 3)
        assert not call(client, name, 0, 4096, 7)
        assert not call(client, name, 0, 4096, 4)


def test_signals_are_for_the_process_itself(client: Program) -> None:
    assert call(client, "tgkill", PID, PID, 6)
    assert not call(client, "tgkill", PID + 1, PID + 1, 6)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("ioctl", (3, 0x5421), (0, 0x5412)),  # FIONBIO; TIOCSTI: types into a terminal
        ("fcntl", (3, 4, 2048), (3, 8, 1)),  # F_SETFL; F_SETOWN: signals others
        ("setsockopt", (3, 6, 1), (3, 6, 31)),  # TCP_NODELAY; TCP_ULP
        ("prlimit64", (0, 7, 0, 0x7000), (0, 7, 0x7000, 0)),
        ("prlimit64", (0, 7, 0), (99, 7, 0)),
    ],
)
def test_of_calls_that_can_do_more_only_what_is_needed_is_allowed(
    client: Program, name: str, good: tuple[int, ...], bad: tuple[int, ...]
) -> None:
    assert call(client, name, *good)
    assert not call(client, name, *bad)


def test_the_event_loop_may_make_a_pair_of_unix_sockets(server: Program) -> None:
    assert call(server, "socketpair", 1, 1)
    assert not call(server, "socketpair", 16, 3)


def test_all_words_of_an_alternative_have_to_hold() -> None:
    rules: dict[str, Rule] = {"read": ((Word(0, 15, 1), Word(1, 15, 2)), (Word(2, 15, 3),))}
    program = assemble(rules, "x86_64")
    allowed = {
        (a, b, c)
        for a in range(4)
        for b in range(4)
        for c in range(4)
        if call(program, "read", a, b, c)
    }
    assert allowed == {
        (a, b, c)
        for a in range(4)
        for b in range(4)
        for c in range(4)
        if (a, b) == (1, 2) or c == 3
    }


def test_no_jump_is_too_long_and_no_program() -> None:
    for machine in ARCHITECTURES:
        program = assemble(check_rules(PID), machine)
        assert all(if_true < 256 and if_false < 256 for _, if_true, if_false, _ in program)
        assert len(program) < 4096  # BPF_MAXINSNS


def test_calls_that_a_machine_does_not_have_are_left_out() -> None:
    assert "open" in allowed_calls(server_rules(PID), "x86_64")
    assert "open" not in allowed_calls(server_rules(PID), "aarch64")
    with pytest.raises(KeyError):
        assemble({}, "vax")


def test_a_program_of_32_bits_is_no_machine_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert this_machine() in ARCHITECTURES
    monkeypatch.setattr("sys.maxsize", 2**31 - 1)
    assert this_machine() not in ARCHITECTURES


def test_the_kernel_is_given_the_program_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes] = []

    def prctl(option: int, mode: int, head: int) -> int:
        assert (option, mode) == (22, 2)
        length, at = struct.unpack("@HP", ctypes.string_at(head, struct.calcsize("@HP")))
        given.append(ctypes.string_at(at, 8 * length))
        return 0

    monkeypatch.setattr(seccomp, "prctl", prctl)
    program = [(0x20, 0, 0, 4), (0x06, 0, 0, ALLOW)]
    seccomp.install(program)
    assert given == [b"".join(struct.pack("=HBBI", *one) for one in program)]
