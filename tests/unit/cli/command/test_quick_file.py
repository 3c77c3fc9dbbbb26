import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_dynamic.cli.command.quick_file import (
    has_block,
    line_of_peer,
    saves_itself,
    with_peer,
    without_peer,
)
from wg_dynamic.errors import UsageError

KEY, OTHER = "A" * 43 + "=", "B" * 42 + "A="
TEXT = f"""\
# My hub. \ud83d
[Interface]
PrivateKey = secret
 listenport=51820  # open

[Peer]
publickey = {OTHER} # the printer
AllowedIPs = fe80::2/128

"""


def test_a_block_is_put_at_the_end_and_the_rest_stays() -> None:
    changed = with_peer(TEXT, KEY, "fe80::1/128, 10.0.0.9/32", "laptop", "preshared")
    assert changed == (
        f"{TEXT}\n# begin of a peer by wg-dynamic: {KEY}\n[Peer]\n# laptop\nPublicKey = {KEY}\n"
        "PresharedKey = preshared\nAllowedIPs = fe80::1/128, 10.0.0.9/32\n"
        f"# end of the peer by wg-dynamic: {KEY}\n"
    )
    assert has_block(changed, KEY)
    assert not has_block(changed, OTHER)
    assert line_of_peer(changed, KEY) == TEXT.count("\n") + 5
    assert line_of_peer(changed, OTHER) == 7


def test_what_is_not_said_is_not_written() -> None:
    assert "#" not in with_peer("", KEY, "fe80::1/128", "", "preshared").split("\n", 2)[2][:99]
    changed = with_peer("", KEY, "fe80::1/128")
    assert changed.split("\n")[2:5] == ["[Peer]", f"PublicKey = {KEY}", "AllowedIPs = fe80::1/128"]


@pytest.mark.parametrize("text", [TEXT, TEXT.rstrip("\n") + "\n", "[Interface]\n", "\n\n"])
def test_a_block_is_taken_out_without_a_trace(text: str) -> None:
    one = with_peer(text, KEY, "fe80::1/128", "laptop")
    assert without_peer(one, KEY) == text
    two = with_peer(one, OTHER, "fe80::2/128")
    assert without_peer(two, OTHER) == one
    assert without_peer(without_peer(two, KEY), OTHER) == text


@pytest.mark.parametrize("before", ["", "# mine\n"])
def test_a_block_without_a_gap_before_it_takes_none_along(before: str) -> None:
    block = with_peer("", KEY, "fe80::1/128", "", "").lstrip("\n")
    assert without_peer(f"{before}{block}# rest\n", KEY) == f"{before}# rest\n"


def test_a_last_line_without_an_end_gets_one() -> None:
    changed = with_peer("[Interface]\nMTU = 1400", KEY, "fe80::1/128")
    assert changed.startswith("[Interface]\nMTU = 1400\n\n# begin")
    assert without_peer(changed, KEY) == "[Interface]\nMTU = 1400\n"


def test_what_the_administrator_put_into_the_block_goes_with_it() -> None:
    changed = with_peer(TEXT, KEY, "fe80::1/128").replace(
        "AllowedIPs = fe80::1/128", "AllowedIPs = fe80::1/128\nPersistentKeepalive = 5"
    )
    assert without_peer(changed, KEY) == TEXT


def test_a_peer_of_the_administrator_s_own_is_never_taken_out() -> None:
    assert without_peer(TEXT, OTHER) == TEXT


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"# end of the peer by wg-dynamic: {KEY}", ""),
        ("AllowedIPs = fe80::1/128", "[Peer]\nAllowedIPs = fe80::1/128"),
        ("AllowedIPs = fe80::1/128", "[Interface]\nAllowedIPs = fe80::1/128"),
        (f"PublicKey = {KEY}", f"PublicKey = {OTHER}"),
        (f"PublicKey = {KEY}", ""),
        ("[Peer]\nPublicKey", "PublicKey"),
        ("[Peer]\nPublicKey", "[Interface]\nPublicKey"),
    ],
)
def test_a_block_that_is_not_ours_any_more_is_left_to_the_administrator(old: str, new: str) -> None:
    changed = with_peer("[Interface]\n", KEY, "fe80::1/128").replace(old, new)
    with pytest.raises(UsageError, match=f"line 3 begins .*{KEY}.*take it out by hand"):
        without_peer(changed, KEY)


def test_an_end_before_its_begin_is_none() -> None:
    mark = f"# end of the peer by wg-dynamic: {KEY}\n"
    changed = mark + with_peer("[Interface]\n", KEY, "fe80::1/128")
    with pytest.raises(UsageError, match="take it out by hand"):
        without_peer(changed, KEY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[Interface]\nSaveConfig = true\n", True),
        ("[interface]\n  saveconfig=TRUE # yes\n", True),
        ("[Interface]\nSaveConfig = true\nSaveConfig = false\n", False),
        ("[Interface]\n# SaveConfig = true\n", False),
        ("[Interface]\n", False),
    ],
)
def test_whether_wg_quick_writes_the_file_is_read_as_it_reads_it(text: str, expected: bool) -> None:
    assert saves_itself(text) is expected


def test_a_key_of_the_interface_or_in_a_comment_is_no_peer_s() -> None:
    text = f"[Interface]\nPublicKey = {KEY}\n[Peer]\n# PublicKey = {KEY}\nAllowedIPs = ::/0\n"
    assert line_of_peer(text, KEY) is None
    assert line_of_peer(f"{text}[peer]\nPUBLICKEY={KEY}", KEY) == 7


PIECES = st.sampled_from(
    [
        *("[Interface]", "[Peer]", f"PublicKey = {KEY}", f"PublicKey = {OTHER}", "", "# x", "\r"),
        f"# begin of a peer by wg-dynamic: {KEY}",
        f"# end of the peer by wg-dynamic: {KEY}",
        f"# begin of a peer by wg-dynamic: {OTHER}",
    ]
)


@given(st.lists(PIECES).map("\n".join))
def test_lines_of_others_are_never_taken_out(text: str) -> None:
    try:
        changed = without_peer(text, KEY)
    except UsageError:
        return
    if changed != text:
        lost = len(text.split("\n")) - len(changed.split("\n"))
        assert text.count("[Peer]") == changed.count("[Peer]") + 1
        assert text.count("[Interface]") == changed.count("[Interface]")
        assert text.count(f"PublicKey = {OTHER}") == changed.count(f"PublicKey = {OTHER}")
        assert lost >= 4
