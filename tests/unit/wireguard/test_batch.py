import pytest

from tests.contract.wireguard_control import ALICE, BOB, NOBODY, adding, removing
from wg_dynamic.address import Prefix, parse_prefix
from wg_dynamic.wireguard.batch import MAX_STEP_PREFIXES, Action, Step, plan, plan_take_over
from wg_dynamic.wireguard.device import AllowedIPChange

THROWAWAY = b"t" * 32


def prefixes(*texts: str) -> tuple[Prefix, ...]:
    return tuple(parse_prefix(text) for text in texts)


def test_neighbouring_changes_of_one_peer_are_one_step() -> None:
    changes = adding(ALICE, "10.0.0.1/32", "10.0.0.2/32") + adding(BOB, "10.0.0.3/32")
    changes += removing(BOB, "10.0.0.4/32") + adding(ALICE, "10.0.0.5/32")
    assert plan(changes) == [
        Step(Action.ADD, ALICE, prefixes("10.0.0.1", "10.0.0.2")),
        Step(Action.ADD, BOB, prefixes("10.0.0.3")),
        Step(Action.REMOVE, BOB, prefixes("10.0.0.4")),
        Step(Action.ADD, ALICE, prefixes("10.0.0.5")),
    ]
    assert plan([]) == []


def test_host_bits_are_cut() -> None:
    (step,) = plan(adding(ALICE, "10.1.2.3/16", "2001:db8::1/64"))
    assert step.prefixes == prefixes("10.1.0.0/16", "2001:db8::/64")


@pytest.mark.parametrize("count", [MAX_STEP_PREFIXES, MAX_STEP_PREFIXES + 1])
def test_a_step_holds_so_many_prefixes_and_no_more(count: int) -> None:
    many = [
        AllowedIPChange(ALICE, Prefix(bytes([10, n >> 8, n & 255, 1]), 32), True)
        for n in range(count)
    ]
    steps = plan(many)
    assert [len(step.prefixes) for step in steps] == [MAX_STEP_PREFIXES, 1][: len(steps)]
    held = {ALICE: {change.prefix for change in many}}
    removed = plan([AllowedIPChange(c.public_key, c.prefix, False) for c in many])
    taken = plan_take_over(removed, held, THROWAWAY)
    assert [len(step.prefixes) for step in taken] == [len(step.prefixes) for step in steps]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (AllowedIPChange(b"k" * 31, Prefix(bytes(4), 32), True), "public key of 31 bytes"),
        (AllowedIPChange(ALICE, Prefix(bytes(5), 32), True), "prefix of 5 bytes and length 32"),
        (AllowedIPChange(ALICE, Prefix(bytes(4), 33), True), "prefix of 4 bytes and length 33"),
        (AllowedIPChange(ALICE, Prefix(bytes(16), 129), False), "length 129"),
        (AllowedIPChange(ALICE, Prefix(bytes(16), -1), False), "length -1"),
    ],
)
def test_a_change_without_sense_is_refused(change: AllowedIPChange, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        plan([change])


def test_only_what_the_peer_holds_is_taken_over() -> None:
    steps = plan(removing(ALICE, "10.0.0.1/32", "10.0.0.2/32", "10.0.0.1/32"))
    held = {ALICE: set(prefixes("10.0.0.1", "10.0.0.3"))}
    assert plan_take_over(steps, held, THROWAWAY) == [
        Step(Action.TAKE_OVER, THROWAWAY, prefixes("10.0.0.1"))
    ]


def test_nothing_is_done_for_a_peer_that_does_not_exist() -> None:
    steps = plan(adding(NOBODY, "10.0.0.1/32") + removing(NOBODY, "10.0.0.1/32"))
    assert plan_take_over(steps, {}, THROWAWAY) == []


def test_what_an_earlier_change_moved_is_not_taken_from_its_new_owner() -> None:
    steps = plan(adding(BOB, "10.0.0.1/32") + removing(ALICE, "10.0.0.1/32"))
    held = {ALICE: set(prefixes("10.0.0.1")), BOB: set()}
    assert plan_take_over(steps, held, THROWAWAY) == [Step(Action.ADD, BOB, prefixes("10.0.0.1"))]


def test_what_an_earlier_change_added_is_taken_over() -> None:
    steps = plan(adding(ALICE, "10.0.0.1/32") + removing(ALICE, "10.0.0.1/32"))
    assert [step.action for step in plan_take_over(steps, {ALICE: set()}, THROWAWAY)] == [
        Action.ADD,
        Action.TAKE_OVER,
    ]


def test_the_throwaway_peer_comes_once_for_neighbouring_removals() -> None:
    steps = plan(removing(ALICE, "10.0.0.1/32") + removing(BOB, "10.0.0.2/32"))
    held = {ALICE: set(prefixes("10.0.0.1")), BOB: set(prefixes("10.0.0.2"))}
    assert plan_take_over(steps, held, THROWAWAY) == [
        Step(Action.TAKE_OVER, THROWAWAY, prefixes("10.0.0.1", "10.0.0.2"))
    ]
