"""The network process for real: what it is given, and what it is not."""

import json
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from wg_dynamic.privsep import begin
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.privsep.process import NetworkProcess
from wg_dynamic.privsep.requests import CLIENT_REPLIES, CLIENT_REQUESTS, Ready, Report, Stop
from wg_dynamic.privsep.spawn import spawn_network_process
from wg_dynamic.system.privileges import Account

ACCOUNT = Account(60970, 60970)

# Stands in for `python … begin.py wg_dynamic.cli.client_network`: the same
# interpreter, run the same way.
INTERPRETER = f"""#!{sys.executable} -I
import json, os, socket, sys
from wg_dynamic.privsep.requests import CLIENT_REPLIES, CLIENT_REQUESTS, Ready, Report, Stop
from wg_dynamic.privsep.spawn import inherited_channel
from wg_dynamic.system.privileges import drop_privileges
*flags, begin, module, identity = sys.argv[1:6]
arguments = sys.argv[6:]
channel, account = inherited_channel(identity, CLIENT_REQUESTS, CLIENT_REPLIES)
drop_privileges(account)
def descriptors():
    numbers = os.listdir("/proc/self/fd")  # that of the listing itself is gone by now
    return sorted(int(n) for n in numbers if os.path.exists(f"/proc/self/fd/{{n}}"))
about = dict(
    flags=[*flags, begin, module], arguments=arguments, uid=os.getresuid(),
    environment=sorted(os.environ), stdin=os.readlink("/proc/self/fd/0"),
    leader=os.getsid(0) == os.getpid(), channel=channel.fileno(), descriptors=descriptors(),
)
try:
    os.open("/dev/tty", os.O_RDWR)
    about["tty"] = "could be opened"
except OSError:
    about["tty"] = None
text = json.dumps(about)
for at in range(0, len(text), 900):
    channel.send(Report(text[at : at + 900]))
channel.send(Ready())
print(type(channel.wait_for(Stop)[0]).__name__, flush=True)
if "attach" in arguments:
    raw = socket.socket(fileno=os.dup(channel.fileno()))
    try:
        socket.send_fds(raw, [b"\\x03"], [1])
    except PermissionError:
        channel.send(Report("refused by the kernel"))
if "stay" in arguments:
    channel.wait_for(Stop)
"""


@contextmanager
def spawned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> Iterator[tuple[NetworkProcess, Channel]]:
    interpreter = tmp_path / "python"
    interpreter.write_text(INTERPRETER)
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    process, channel = spawn_network_process(
        "wg_dynamic.cli.client_network", ACCOUNT, list(arguments), CLIENT_REPLIES, CLIENT_REQUESTS
    )
    try:
        yield process, channel
    finally:
        channel.close()
        try:
            process.wait(10)
        finally:
            process.kill()
            process.wait()


def heard(channel: Channel) -> object:
    select.select([channel], [], [], 10)
    received = channel.receive()
    assert received is not None, "nothing within 10 s"
    return received[0]


def about(channel: Channel) -> dict[str, Any]:
    text = ""
    while isinstance(message := heard(channel), Report):
        text += message.text
    assert message == Ready()
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_network_process_gets_one_end_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of root")
    monkeypatch.setenv("PYTHONPATH", "/tmp")  # noqa: S108 - the point: it is not passed on
    monkeypatch.setenv("LANG", "C.UTF-8")
    kept = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(kept, True)
    with spawned(tmp_path, monkeypatch, "stderr", "quiet") as (process, channel):
        found = about(channel)
        channel.send(Stop(release=False))
        assert process.wait(10) == 0
    os.close(kept)
    assert found["flags"] == ["-I", "-S", begin.__file__, "wg_dynamic.cli.client_network"]
    assert found["arguments"] == ["stderr", "quiet"]
    assert found["uid"] == [60970] * 3
    assert found["stdin"] == "/dev/null"
    assert "LANG" in found["environment"]
    assert not {"SECRET", "PYTHONPATH", "HOME", "NOTIFY_SOCKET"} & set(found["environment"])
    assert found["descriptors"] == sorted({0, 1, 2, found["channel"]})


def test_the_network_process_has_no_terminal_to_type_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spawned(tmp_path, monkeypatch) as (_, channel):
        found = about(channel)
        channel.send(Stop(release=False))
    assert found["leader"]
    assert found["tty"] is None


def test_the_network_process_ends_with_the_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spawned(tmp_path, monkeypatch, "stay") as (process, channel):
        about(channel)
        channel.send(Stop(release=False))
        channel.close()
        assert process.wait(10) != 0  # EOFError here; the real one ends quietly


def test_a_descriptor_from_the_network_process_never_stays_in_the_helper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spawned(tmp_path, monkeypatch, "attach") as (_, channel):
        about(channel)
        before = len(os.listdir("/proc/self/fd"))
        channel.send(Stop(release=False))
        try:
            assert heard(channel) == Report("refused by the kernel")
        except ChannelError as error:
            assert "is no socket" in str(error)  # noqa: PT017 - before Linux 6.16
        assert len(os.listdir("/proc/self/fd")) == before


def test_the_end_of_a_killed_network_process_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spawned(tmp_path, monkeypatch, "stay") as (process, channel):
        about(channel)
        process.kill()
        process.wait()
        with pytest.raises(EOFError):
            heard(channel)
        with pytest.raises(ChannelError, match="gone"):
            channel.send(Stop(release=False))
