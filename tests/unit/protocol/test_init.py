"""The public names."""

import doctest

from wg_dynamic import protocol


def test_every_public_name_is_there_and_in_order() -> None:
    assert all(hasattr(protocol, name) for name in protocol.__all__)
    assert len(set(protocol.__all__)) == len(protocol.__all__)


def test_the_example_of_the_docstring_runs() -> None:
    result = doctest.testmod(protocol)
    assert result.attempted == 4
    assert result.failed == 0
