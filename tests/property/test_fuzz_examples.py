"""Each example of each fuzz target keeps what the target says, with no fuzzer (fuzz/README.md)."""

import logging
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.examples import format_example, read_examples, write_examples
from fuzz.target import CORPUS, FOUND, NAMES, examples, load
from tools.repository import ROOT
from wg_dynamic.admin.protocol import AdminError
from wg_dynamic.errors import UsageError
from wg_dynamic.netlink.errors import MalformedMessageError
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.wireguard.uapi_codec import MalformedReplyError

SECONDS = 2.0
"""Of the processor, for one example; none takes a hundredth."""
BYTES = 2_000_000
BYTES_FOR_EACH = 200
"""Memory for one example: so much, and so much for each byte of it."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What parsers say in the log of damaged files is not what is asked here."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", NAMES)
def test_every_example_keeps_what_its_target_says(name: str) -> None:
    target = load(name)
    for data in examples(name):
        began = time.process_time()
        try:
            target.check(data)
        except Exception as error:
            error.add_note(f"example: {format_example(data)}")
            raise
        assert time.process_time() - began < SECONDS, format_example(data)


@pytest.mark.parametrize("name", NAMES)
def test_no_example_takes_more_memory_than_its_size_allows(name: str) -> None:
    target = load(name)
    tracemalloc.start()
    try:
        found = read_examples(FOUND / f"{name}.txt")
        for data in [*found, *examples(name)[::5]]:  # it takes three times as long, measured
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            target.check(data)
            taken = tracemalloc.get_traced_memory()[1] - before
            assert taken < BYTES + BYTES_FOR_EACH * len(data), format_example(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", NAMES)
def test_a_target_has_what_a_fuzzer_needs(name: str) -> None:
    target = load(name)
    assert target.__doc__
    assert list(target.words())
    assert all(len(seed) <= target.MAX_SIZE for seed in target.seeds())
    for module in target.PARSERS:
        assert (ROOT / "src/wg_dynamic" / module.replace(".", "/")).with_suffix(".py").exists()


def test_examples_are_of_targets_that_exist() -> None:
    kept = {path.stem for path in (*CORPUS.glob("*"), *FOUND.glob("*.txt"))}
    assert kept <= set(NAMES)


@pytest.mark.parametrize(
    ("name", "documented"),
    [
        ("admin", AdminError),
        ("config", UsageError),
        ("genetlink", MalformedMessageError),
        ("privsep", ChannelError),
        ("rtnetlink", MalformedMessageError),
        ("uapi", MalformedReplyError),
    ],
)
def test_an_error_that_is_not_the_documented_one_is_a_fault(
    name: str, documented: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = load(name)
    junk = b"\x05\0\0\0junk"
    target.check(junk)
    monkeypatch.setattr(target, documented.__name__, KeyError)
    with pytest.raises(documented):
        target.check(junk)


@pytest.mark.parametrize(
    ("name", "parser"),
    [
        ("ledger", "wg_dynamic.privsep.ledger.parse_entry"),
        ("protocol_client", "wg_dynamic.protocol.connection.decode_reply"),
        ("protocol_server", "wg_dynamic.protocol.connection.decode_request"),
        ("record", "wg_dynamic.privsep.ledger.parse_entry"),
    ],
)
def test_a_parser_that_raises_what_it_should_not_is_a_fault(
    name: str, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parser, {}.__getitem__)
    first = next(iter(load(name).seeds()))
    with pytest.raises(KeyError):
        load(name).check(first)


@given(st.lists(st.binary(max_size=30) | st.text(max_size=30).map(str.encode), unique=True))
def test_examples_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, written: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("examples") / "x.txt"
    write_examples(path, written, "of this test")
    assert sorted(read_examples(path)) == sorted(written)


def test_a_line_that_is_no_example_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("# fine\n\ntext a\nhexagon\n")
    with pytest.raises(ValueError, match=r"line 'hexagon', expected 'text …' or 'hex …'"):
        read_examples(tmp_path / "x.txt")
