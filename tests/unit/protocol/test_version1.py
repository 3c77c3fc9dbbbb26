"""Version 1 and its early draft: docs/protocol.md section 5."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from wg_dynamic.protocol import version1
from wg_dynamic.protocol.errors import ErrorCode
from wg_dynamic.protocol.messages import (
    ANY_IPV4,
    ANY_IPV6,
    LeasedAddress,
    RequestIP,
    RequestIPReply,
    Route,
)

V4, V6 = IPv4Address("192.168.4.9"), IPv6Address("2001:db8:7777::d")
LEASED_V4 = LeasedAddress(V4, IPv4Network("192.168.4.0/24"), 10, 20)
LEASED_V6 = LeasedAddress(V6, IPv6Network("2001:db8:7777::/64"), 10, 10)


def lines(text: str) -> list[str]:
    return text.removesuffix("\n\n").split("\n")[1:]


def test_a_request_is_upstreams_byte_for_byte() -> None:
    text = version1.encode_request(RequestIP(version=1, wishes=(V6, V4)))
    assert text == (
        "request_ip=1\nip=192.168.4.9/32\nip=2001:db8:7777::d/128\nleasestart=0\nleasetime=0\n\n"
    )
    assert version1.decode_request(lines(text)) == RequestIP(version=1, wishes=(V4, V6))


def test_a_request_without_wishes_asks_for_any_of_both_families() -> None:
    text = "request_ip=1\nip=0.0.0.0/32\nip=::/128\nleasestart=0\nleasetime=0\n\n"
    assert version1.encode_request(RequestIP(version=1)) == text
    assert version1.decode_request(lines(text)).wishes == (ANY_IPV4, ANY_IPV6)


def test_a_family_without_a_line_is_not_wanted() -> None:
    assert version1.decode_request(["ip=::"]).wishes == (ANY_IPV6,)
    assert "ip=0" not in version1.encode_request(RequestIP(version=1, wishes=(V6,)))


def test_the_last_line_of_a_family_counts() -> None:
    said = ["ip=192.0.2.1/32", "ip=192.0.2.2/24", "ip=2001:db8::1"]
    assert version1.decode_request(said).wishes == (
        IPv4Address("192.0.2.2"),
        IPv6Address("2001:db8::1"),
    )


def test_unknown_lines_are_skipped_whatever_they_say() -> None:
    said = ["ip=192.0.2.1", "Foo bar=\x80=", "errmsg=x=y", "errno=0", "leasestart= 7", "=x"]
    assert version1.decode_request(said).wishes == (IPv4Address("192.0.2.1"),)


@pytest.mark.parametrize(
    "line",
    [
        "ip",
        "ip=",
        "foo",
        "",
        "foo=\r",
        "ip=192.0.2.1/33",
        "ip=2001:db8::/129",
        "ip=192.0.2.1/-1",
        "ip=x",
        "leasestart=x",
        "leasetime=4294967296",
        "errno=x",
        "ipv4=::1",
        "ipv6=192.0.2.1",
    ],
)
def test_a_line_that_upstream_calls_invalid_is_invalid(line: str) -> None:
    for decode in (version1.decode_request, version1.decode_reply):
        with pytest.raises(ValueError, match=r"(?i)expected"):
            decode([line])


def test_a_request_without_any_address_is_one_of_the_early_draft() -> None:
    request = RequestIP(version=1, early_draft=True)
    assert version1.decode_request([]) == request
    assert version1.encode_request(request) == "request_ip=1\n\n"


def test_the_early_draft_leaves_out_any_address() -> None:
    request = RequestIP(version=1, wishes=(V4, ANY_IPV6), early_draft=True)
    assert version1.decode_request(["ipv4=192.168.4.9/32"]) == request
    assert version1.encode_request(request) == "request_ip=1\nipv4=192.168.4.9/32\n\n"


def test_a_line_of_the_final_form_decides() -> None:
    assert version1.decode_request(["ipv4=192.0.2.1", "ip=::"]) == RequestIP(
        version=1, wishes=(ANY_IPV6,)
    )


@pytest.mark.parametrize(
    "request_",
    [
        RequestIP(version=1, id=1),
        RequestIP(version=1, features=("a",)),
        RequestIP(version=1, critical=("a",)),
        RequestIP(version=1, wishes=(V4, V4)),
        RequestIP(version=1, wishes=(V6, V4, V6)),
    ],
)
def test_what_version_1_cannot_ask_is_refused(request_: RequestIP) -> None:
    with pytest.raises(ValueError, match="version 1"):
        version1.encode_request(request_)


def test_a_reply_is_upstreams_byte_for_byte() -> None:
    reply = RequestIPReply(version=1, addresses=(LEASED_V6, LEASED_V4), lease_start=1795367839)
    text = version1.encode_reply(reply)
    assert text == (
        "ip=192.168.4.9/32\nip=2001:db8:7777::d/128\nleasestart=1795367839\nleasetime=10\n"
        "errno=0\n\n"
    )
    decoded = version1.decode_reply(text.removesuffix("\n\n").split("\n"))
    assert decoded == RequestIPReply(
        version=1,
        lease_start=1795367839,
        addresses=(
            LeasedAddress(V4, IPv4Network("192.168.4.9/32"), 10, 10),
            LeasedAddress(V6, IPv6Network("2001:db8:7777::d/128"), 10, 10),
        ),
    )


def test_a_reply_of_the_early_draft_has_its_command_line_and_names() -> None:
    reply = RequestIPReply(version=1, addresses=(LEASED_V4,), lease_start=1)
    assert version1.encode_reply(reply, early_draft=True) == (
        "request_ip=1\nipv4=192.168.4.9/32\nleasestart=1\nleasetime=20\nerrno=0\n\n"
    )


def test_an_error_needs_no_time() -> None:
    reply = RequestIPReply(version=1, errno=ErrorCode.INVALID_REQUEST)
    assert version1.encode_reply(reply) == "errno=1\nerrmsg=Invalid request\n\n"


def test_an_error_may_come_with_an_address() -> None:
    reply = RequestIPReply(
        version=1, errno=ErrorCode.EXHAUSTED, addresses=(LEASED_V4,), lease_start=5
    )
    assert version1.encode_reply(reply) == (
        "ip=192.168.4.9/32\nleasestart=5\nleasetime=20\nerrno=3\n"
        "errmsg=Chosen IP(s) unavailable\n\n"
    )


def test_an_error_text_has_no_second_equals_sign() -> None:
    reply = RequestIPReply(version=1, errno=4711, errmsg="a=b\n")
    assert version1.encode_reply(reply) == "errno=4711\nerrmsg=a:b?\n\n"
    assert "errmsg=Error 4711" in version1.encode_reply(RequestIPReply(version=1, errno=4711))


def test_what_version_1_cannot_say_is_left_out() -> None:
    reply = RequestIPReply(
        version=1, routes=(Route(IPv4Network("10.0.0.0/8")),), mtu=1420, retry_after=5
    )
    assert version1.encode_reply(reply) == "errno=0\n\n"


@pytest.mark.parametrize(
    "reply",
    [
        RequestIPReply(version=1, id=1),
        RequestIPReply(version=1, more=True),
        RequestIPReply(version=1, addresses=(LEASED_V4, LEASED_V4), lease_start=1),
        RequestIPReply(version=1, addresses=(LEASED_V4,)),
    ],
)
def test_what_version_1_must_not_say_is_refused(reply: RequestIPReply) -> None:
    with pytest.raises(ValueError, match=r"version 1|leasestart"):
        version1.encode_reply(reply)


def test_a_reply_without_errno_is_a_success() -> None:
    reply = version1.decode_reply(["ipv4=192.168.4.9/24", "leasetime=60"])
    assert reply.errno == 0
    assert reply.lease_start is None
    assert reply.addresses == (LeasedAddress(V4, IPv4Network("192.168.4.9/32"), 60, 60),)


def test_an_all_zero_address_in_a_reply_is_none() -> None:
    assert version1.decode_reply(["ip=0.0.0.0/32", "errno=3", "errmsg=x"]) == RequestIPReply(
        version=1, errno=3, errmsg="x"
    )


def test_a_missing_lease_time_is_zero() -> None:
    (leased,) = version1.decode_reply(["ip=192.168.4.9/32"]).addresses
    assert leased.valid_time == 0
