"""Names of peers that have a lease."""

import pytest

from wg_dynamic.watch.names import Names, label_of

TOP = "# Made by wg-dynamic-watch for wg0, over and over: changes are lost.\n"


def event(
    kind: str, address: object, key: object = "A", name: object = "laptop"
) -> dict[str, object]:
    return {"event": kind, "address": address, "public_key": key, "name": name}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("laptop", "laptop"),
        ("My Laptop!", "my-laptop"),
        ("a..b__c", "a-b-c"),
        ("-x-", "x"),
        ("p\u0430ypal", "p-ypal"),
        ("\u043f\u0440", ""),
        ("x" * 70, "x" * 63),
        ("x" * 62 + " y", "x" * 62),
    ],
)
def test_a_name_becomes_one_label_of_letters_digits_and_hyphens(name: str, label: str) -> None:
    assert label_of(name) == label


def test_the_file_follows_what_happens() -> None:
    names = Names("wg0", "wg")
    assert names.text() == TOP
    assert names.tell(event("granted", "10.44.0.7"))
    assert names.tell(event("granted", "fd00:44::7"))
    assert not names.tell(event("renewed", "10.44.0.7"))
    assert names.text() == f"{TOP}10.44.0.7 laptop.wg\nfd00:44::7 laptop.wg\n"
    assert names.tell(event("expired", "10.44.0.7"))
    assert not names.tell(event("expired", "10.44.0.7"))
    assert names.text() == f"{TOP}fd00:44::7 laptop.wg\n"
    assert names.tell(event("released", "fd00:44::7"))
    assert names.text() == TOP


def test_the_first_holder_keeps_a_name_until_it_has_no_lease() -> None:
    names = Names("wg0", "wg")
    names.tell(event("granted", "10.44.0.7", "A"))
    assert not names.tell(event("granted", "10.44.0.8", "B", "LAPTOP"))
    names.tell(event("released", "10.44.0.7", "A"))
    assert names.tell(event("renewed", "10.44.0.8", "B", "LAPTOP"))
    assert names.text() == f"{TOP}10.44.0.8 laptop.wg\n"


def test_a_peer_that_is_called_otherwise_gives_its_old_name_up() -> None:
    names = Names("wg0", "wg")
    names.tell(event("granted", "10.44.0.7"))
    names.tell(event("renewed", "10.44.0.7", "A", "desk"))
    assert names.text() == f"{TOP}10.44.0.7 desk.wg\n"
    assert names.tell(event("granted", "10.44.0.8", "B", "laptop"))


@pytest.mark.parametrize("name", ["localhost", "WPAD", "isatap", "printer", "", "\u4e2d", None, 7])
def test_some_names_nobody_gets(name: object) -> None:
    names = Names("wg0", "wg", ["Printer"])
    assert not names.tell(event("granted", "10.44.0.7", "A", name))
    assert names.text() == TOP


@pytest.mark.parametrize("address", [None, 7, "10.44.0.7 evil.example\n", "x"])
def test_what_is_no_address_stands_in_no_file(address: object) -> None:
    names = Names("wg0", "wg")
    assert not names.tell(event("granted", address))
    assert names.text() == TOP


def test_all_leases_replace_what_was_known_and_holders_keep_their_names() -> None:
    names = Names("wg0", "wg")
    names.tell(event("granted", "10.44.0.7", "A"))
    names.tell(event("granted", "10.44.0.9", "C", "gone"))
    rows = [
        {"address": "10.44.0.8", "public_key": "B", "name": "laptop"},
        {"address": "10.44.0.7", "public_key": "A", "name": "laptop"},
    ]
    names.replace(rows)
    assert names.text() == f"{TOP}10.44.0.7 laptop.wg\n"
    assert names.tell(event("granted", "10.44.0.9", "D", "gone"))
