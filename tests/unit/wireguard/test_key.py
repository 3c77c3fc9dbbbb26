import pytest

from wg_dynamic.wireguard.key import KEY_SIZE, format_key, parse_key, peer_label

TEXT = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="


def test_a_key_is_read_and_printed_as_wg_prints_it() -> None:
    raw = parse_key(TEXT)
    assert len(raw) == KEY_SIZE
    assert format_key(raw) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[:-1],
        TEXT + "=",
        f" {TEXT}",
        TEXT[:-2] + "h=",  # bits beyond the 32 bytes
        TEXT.replace("x", "-"),
        "AAAA",
        "é" * 44,
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected 44 characters of base64"):
        parse_key(text)


def test_a_peer_in_a_log_is_short() -> None:
    assert peer_label(parse_key(TEXT)) == "peer(xTIB…p8Dg)"
