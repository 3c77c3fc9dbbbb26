"""The helper as the network process sees it."""

import asyncio
import socket
from collections.abc import Awaitable, Iterator

import pytest

from tests.fakes.patience import a_while
from wg_dynamic.address import parse_prefix
from wg_dynamic.leases.terms import LeaseTerms, Reservation
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import (
    MAX_CHANGES,
    SERVER_REPLIES,
    SERVER_REQUESTS,
    Change,
    ChangeAllowedIPs,
    Changed,
    Failed,
    NewTerms,
    NextPeers,
    NextTerms,
    PeerInfo,
    Peers,
    ReadPeers,
    Ready,
    Refusal,
    ServerStart,
    Stop,
    TermsPart,
)
from wg_dynamic.server.proxy import HelperGoneError, HelperProxy, NotReadError

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32


class Ends:
    """Both ends of a channel: ours as the proxy has it, and the helper's."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.raw = theirs
        self.ours = Channel(ours, SERVER_REQUESTS, SERVER_REPLIES)
        self.helper = Channel(theirs, SERVER_REPLIES, SERVER_REQUESTS)

    def asked(self) -> object:
        received = self.helper.receive()
        return None if received is None else received[0]


@pytest.fixture
def ends() -> Iterator[Ends]:
    both = Ends()
    yield both
    both.ours.close()
    both.helper.close()


def some_changes(count: int) -> list[Change]:
    return [
        Change(ALICE, parse_prefix(f"10.0.{number >> 8}.{number & 255}/32"), add=True)
        for number in range(count)
    ]


async def failure_of(awaited: Awaitable[object]) -> str:
    with pytest.raises(HelperGoneError) as raised:
        await awaited
    return str(raised.value)


async def test_peers_that_come_in_parts_are_returned_whole(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    alice, bob = PeerInfo(ALICE, (), ()), PeerInfo(BOB, (), ())
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(proxy.read_peers())
        await a_while()
        assert ends.asked() == ReadPeers()
        ends.helper.send(Peers((alice,), last=False))
        await a_while()
        assert not reading.done()
        assert ends.asked() == NextPeers()
        ends.helper.send(Peers((bob,), last=True))
    assert reading.result() == [alice, bob]
    proxy.close()


async def test_a_second_reading_begins_empty(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    alice = PeerInfo(ALICE, (), ())
    for _ in range(2):
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(proxy.read_peers())
            ends.helper.send(Peers((alice,), last=True))
            await a_while()
        assert reading.result() == [alice]
    proxy.close()


async def test_answers_belong_to_the_requests_in_their_order(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    refusal = Refusal(0, "no such peer")
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(proxy.read_peers())
        changing = group.create_task(proxy.change(some_changes(1)))
        await a_while()
        ends.helper.send(Peers((), last=True))
        ends.helper.send(Changed((refusal,)))
    assert reading.result() == []
    assert changing.result() == [refusal]
    proxy.close()


async def test_many_changes_go_in_several_messages_and_refusals_keep_their_index(
    ends: Ends,
) -> None:
    proxy = HelperProxy(ends.ours)
    changes = some_changes(MAX_CHANGES + 1)
    async with asyncio.TaskGroup() as group:
        changing = group.create_task(proxy.change(changes))
        for size in (MAX_CHANGES, 1):
            await a_while()
            asked = ends.asked()
            assert isinstance(asked, ChangeAllowedIPs)
            assert len(asked.changes) == size
            ends.helper.send(Changed((Refusal(0, "no"),)))
    assert [one.index for one in changing.result()] == [0, MAX_CHANGES]
    proxy.close()


async def test_no_change_is_no_message(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    assert await proxy.change([]) == []
    assert ends.asked() is None
    proxy.close()


async def test_what_has_no_answer_is_just_sent(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    proxy.tell(Ready())
    assert ends.asked() == Ready()
    proxy.close()


async def test_stop_is_told_once_however_often_it_comes(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    ends.helper.send(Stop(release=False))
    ends.helper.send(Stop(release=True))
    await asyncio.wait_for(proxy.stopped, 5.0)
    await a_while()
    proxy.close()


async def test_a_start_message_that_comes_again_is_passed_over(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    ends.helper.send(ServerStart("wg0", 1, LeaseTerms(()), (), "/db"))
    ends.helper.send(Stop(release=False))
    await asyncio.wait_for(proxy.stopped, 5.0)
    proxy.close()


async def test_who_waits_hears_that_the_helper_is_gone(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(failure_of(proxy.read_peers()))
        given_up = group.create_task(proxy.read_peers())
        await a_while()
        given_up.cancel()
        await a_while()
        ends.helper.close()
    assert "closed the channel" in reading.result()
    assert "closed the channel" in await failure_of(proxy.stopped)


async def test_nothing_is_asked_of_a_helper_that_is_gone(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    ends.helper.close()
    await a_while()
    with pytest.raises(HelperGoneError):
        await proxy.read_peers()
    with pytest.raises(HelperGoneError):
        await proxy.change(some_changes(1))
    proxy.close()


async def test_a_helper_that_went_just_now_is_noticed_in_asking(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    ends.helper.close()
    with pytest.raises(HelperGoneError, match="gone"):
        await proxy.read_peers()
    proxy.close()


async def test_garbage_from_the_helper_is_the_end_of_it(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    ends.raw.send(b"\xff\xff")
    with pytest.raises(HelperGoneError, match="message kind"):
        await asyncio.wait_for(proxy.stopped, 5.0)
    proxy.close()


async def test_an_answer_that_nobody_waits_for_is_the_end_of_it(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    ends.helper.send(Changed(()))
    with pytest.raises(HelperGoneError, match="not asked"):
        await asyncio.wait_for(proxy.stopped, 5.0)
    proxy.close()


async def test_a_helper_that_goes_after_stop_is_no_error(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    ends.helper.send(Stop(release=False))
    await asyncio.wait_for(proxy.stopped, 5.0)
    ends.helper.close()
    await a_while()
    assert proxy.stopped.exception() is None
    proxy.close()


async def test_after_close_the_channel_can_still_be_told_why(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    proxy.close()
    ends.ours.send(Ready())
    assert ends.asked() == Ready()


async def test_a_reading_that_fails_is_told_and_the_next_one_begins_anew(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)

    async def fail() -> None:
        with pytest.raises(NotReadError, match="changed all the time"):
            await proxy.read_peers()

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        await a_while()
        ends.helper.send(Peers((PeerInfo(ALICE, (), ()),), last=False))
        await a_while()
        ends.helper.send(Failed("changed all the time"))
    async with asyncio.TaskGroup() as group:
        again = group.create_task(proxy.read_peers())
        await a_while()
        ends.helper.send(Peers((), last=True))
    assert again.result() == []
    proxy.close()


# --- new terms -------------------------------------------------------------------------------


def of(*keys: bytes) -> TermsPart:
    reservations = tuple(Reservation(key, (bytes([10, 0, 0, key[0]]),)) for key in keys)
    return TermsPart((), reservations, last=False)


LAST = TermsPart((), (), last=True)


async def test_new_terms_are_read_part_by_part(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(proxy.new_terms())
        await a_while()
        assert ends.asked() is None, "there is nothing to ask for yet"
        ends.helper.send(NewTerms(1, LeaseTerms(()), (b"four",)))
        for part in (of(ALICE), of(BOB), LAST):
            await a_while()
            assert ends.asked() == NextTerms()
            ends.helper.send(part)
    new = reading.result()
    assert (new.number, new.own) == (1, (b"four",))
    assert [one.public_key for one in new.terms.reservations] == [ALICE, BOB]
    async with asyncio.TaskGroup() as group:
        again = group.create_task(proxy.new_terms())
        await a_while()
        assert ends.asked() is None, "they are told once"
        again.cancel()
    proxy.close()


async def test_newer_terms_take_the_place_of_those_that_are_being_read(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(proxy.new_terms())
        ends.helper.send(NewTerms(1, LeaseTerms(()), ()))
        await a_while()
        ends.helper.send(of(ALICE))
        await a_while()
        ends.helper.send(NewTerms(2, LeaseTerms((), lease_time=60), ()))
        for part in (of(BOB), LAST):
            await a_while()
            ends.helper.send(part)
    new = reading.result()
    assert (new.number, new.terms.lease_time) == (2, 60)
    assert [one.public_key for one in new.terms.reservations] == [BOB]
    proxy.close()


async def test_terms_that_came_after_the_last_part_are_read_next(ends: Ends) -> None:
    proxy = HelperProxy(ends.ours)
    for number in (1, 2):
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(proxy.new_terms())
            if number == 1:
                ends.helper.send(NewTerms(1, LeaseTerms(()), ()))
                await a_while()
                ends.helper.send(LAST)
                ends.helper.send(NewTerms(2, LeaseTerms(()), ()))
            else:
                await a_while()
                ends.helper.send(LAST)
        assert reading.result().number == number
    proxy.close()
