from struct import pack

import pytest

from tests.data.netlink import captured
from wg_dynamic.netlink.errors import MalformedMessageError
from wg_dynamic.netlink.wire import (
    MAX_ATTRIBUTE_PAYLOAD,
    NLA_F_NESTED,
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLMSG_DONE,
    NLMSG_ERROR,
    Message,
    iter_attributes,
    pack_attribute,
    pack_message,
    pack_nested,
    pack_u32,
    parse_attributes,
    parse_status,
    parse_text,
    parse_u16,
    parse_u32,
    split_messages,
)


def test_a_message_is_its_header_and_its_payload() -> None:
    packed = pack_message(18, 5, 7, b"abcd")
    assert packed == pack("=IHHII", 20, 18, 5, 7, 0) + b"abcd"
    assert split_messages(packed) == [Message(18, 5, 7, b"abcd")]


def test_several_messages_in_a_datagram_are_told_apart_by_their_padding() -> None:
    data = pack_message(1, 0, 1, b"abc") + b"\0" + pack_message(2, 0, 2, b"")
    assert [m.payload for m in split_messages(data)] == [b"abc", b""]
    assert split_messages(b"") == []
    assert [m.kind for m in split_messages(captured.ADDRESSES)] == [20, 20, 20, 20, 3]


def test_the_padding_of_the_last_message_may_be_missing() -> None:
    assert split_messages(pack_message(1, 0, 1, b"abc")) == [Message(1, 0, 1, b"abc")]


@pytest.mark.parametrize("length", [0, 15, 21, 0xFFFFFFFF])
def test_a_message_length_that_does_not_fit_is_refused(length: int) -> None:
    with pytest.raises(MalformedMessageError, match=f"message length {length}, expected 16 to 20"):
        split_messages(pack("=IHHII", length, 1, 0, 0, 0) + b"abcd")


@pytest.mark.parametrize("size", range(1, 16))
def test_half_a_message_header_is_refused(size: int) -> None:
    with pytest.raises(MalformedMessageError):
        split_messages(pack_message(1, 0, 0, b"")[:size])


def test_an_attribute_is_padded_and_its_length_does_not_count_that() -> None:
    assert pack_attribute(3, b"one\0") == pack("=HH", 8, 3) + b"one\0"
    assert pack_attribute(3, b"ab") == pack("=HH", 6, 3) + b"ab\0\0"
    assert pack_u32(4, 1420) == pack("=HHI", 8, 4, 1420)


def test_a_nest_is_flagged_as_one() -> None:
    assert pack_nested(8, pack_u32(1, 2)) == pack("=HHHHI", 12, 8 | NLA_F_NESTED, 8, 1, 2)
    assert parse_attributes(pack_nested(8, b"")) == {8: b""}


def test_the_longest_attribute_has_a_length_of_sixteen_bits() -> None:
    longest = bytes(MAX_ATTRIBUTE_PAYLOAD)
    assert parse_attributes(pack_attribute(1, longest)) == {1: longest}
    with pytest.raises(ValueError, match="65532 bytes, expected at most 65531"):
        pack_attribute(1, longest + b"\0")


def test_attributes_are_read_in_order_from_where_the_struct_ends() -> None:
    data = b"head" + pack_attribute(1, b"abc") + pack_attribute(1, b"") + pack_attribute(2, b"d")
    assert list(iter_attributes(data, 4)) == [(1, b"abc"), (1, b""), (2, b"d")]
    assert parse_attributes(data, 4) == {1: b"", 2: b"d"}


def test_a_payload_shorter_than_its_struct_is_refused() -> None:
    with pytest.raises(MalformedMessageError, match="3 bytes, expected a struct of at least 4"):
        parse_attributes(b"abc", 4)
    assert parse_attributes(b"abcd", 4) == {}


@pytest.mark.parametrize("length", [0, 3, 9, 0xFFFF])
def test_an_attribute_length_that_does_not_fit_is_refused(length: int) -> None:
    with pytest.raises(MalformedMessageError, match=f"length {length}, expected 4 to 8"):
        parse_attributes(pack("=HH", length, 1) + b"abcd")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_half_an_attribute_header_is_refused(size: int) -> None:
    with pytest.raises(MalformedMessageError, match="expected 4 or more"):
        parse_attributes(pack_attribute(1, b"abcd") + bytes(size))


def test_numbers_have_their_size() -> None:
    assert parse_u16(pack("=H", 0xBEEF)) == 0xBEEF
    assert parse_u32(pack("=I", 0xDEADBEEF)) == 0xDEADBEEF
    for parse, size in ((parse_u16, 2), (parse_u32, 4)):
        for wrong in (0, size - 1, size + 1):
            with pytest.raises(MalformedMessageError, match=f"{wrong} bytes, expected {size}"):
                parse(bytes(wrong))


def test_text_ends_at_its_nul_and_bears_any_byte() -> None:
    assert parse_text(b"wg0\0rest") == "wg0"
    assert parse_text(b"wg0") == "wg0"
    assert parse_text(b"w\xff\0") == "w\\xff"


def status_of(datagram: bytes) -> tuple[int, str]:
    (message,) = split_messages(datagram)
    return parse_status(message)


def test_the_status_of_real_acknowledgements_is_read() -> None:
    assert status_of(captured.ACK) == (0, "")
    assert status_of(captured.ERROR_ENODEV) == (19, "")
    assert status_of(captured.ERROR_WITH_TEXT) == (22, "ipv4: address lifetime invalid")


def test_the_status_is_found_after_a_request_that_is_quoted_whole() -> None:
    quoted = pack_message(16, 5, 1, b"abcde") + bytes(3)
    payload = pack("=i", -1) + quoted + pack_attribute(1, b"no\0")
    assert parse_status(Message(NLMSG_ERROR, NLM_F_ACK_TLVS, 1, payload)) == (1, "no")


def test_a_dump_ends_with_a_status_or_on_old_kernels_without() -> None:
    assert parse_status(Message(NLMSG_DONE, 0, 1, b"")) == (0, "")
    assert parse_status(Message(NLMSG_DONE, 0, 1, pack("=i", -95))) == (95, "")
    payload = pack("=i", -22) + pack_attribute(1, b"why\0")
    assert parse_status(Message(NLMSG_DONE, NLM_F_ACK_TLVS, 1, payload)) == (22, "why")


@pytest.mark.parametrize(
    ("flags", "payload"),
    [
        (0, b""),
        (0, b"abc"),
        (0, pack("=i", 1)),
        (NLM_F_ACK_TLVS, pack("=i", -1)),
        (NLM_F_ACK_TLVS | NLM_F_CAPPED, pack("=i", -1) + bytes(15)),
        (NLM_F_ACK_TLVS, pack("=iI", -1, 0xFFFFFFF0) + bytes(12)),
    ],
)
def test_a_status_without_sense_is_refused(flags: int, payload: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_status(Message(NLMSG_ERROR, flags, 1, payload))
