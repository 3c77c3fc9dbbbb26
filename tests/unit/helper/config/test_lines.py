"""Lines of a document that complaints are about."""

import pytest

from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.document import parse_config
from wg_dynamic.helper.config.lines import line_of

TEXT = """\
# a comment
lease_time = 1
[[pool]]
network = "10.44.0.0/24"

[[pool]]
  "network" = 7
dns = { servers = 3 }
unknown = 1
[metrics]
# nothing
[names]
suffix = 1
"""


@pytest.mark.parametrize(
    ("complaint", "line"),
    [
        ("lease_time: 1, expected", 2),
        ("[[pool]] 1: network: x", 4),
        ("[[pool]] 2: network: x", 7),
        ("[[pool]] 2: dns: servers: 3, expected", 8),
        ("[[pool]] 2: unknown key 'unknown', not used", 9),
        ("[[pool]] 1: exclude, item 2: x", 3),
        ("[[pool]] 3: network: x", None),
        ("metrics: listen is missing, expected it", 10),
        ("names: suffix: 1, expected text", 13),
        ("dns: servers: x", None),
        ("user: x", None),
        ("unknown key 'names', not used", 12),
        ("unknown key 'pool', not used", 3),
        ("something else altogether", None),
    ],
)
def test_the_line_is_that_of_the_key_or_of_its_table(complaint: str, line: int | None) -> None:
    assert line_of(TEXT, complaint) == line


def test_an_inline_table_is_where_it_stands() -> None:
    assert line_of("x = 1\ndns = { servers = 3 }\n", "dns: servers: 3, expected") == 2


def test_what_is_told_has_its_line() -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(TEXT, "file")
    told = str(caught.value).split("\n")
    assert [text.rpartition(" (line ")[2] for text in told] == [
        "7)",
        "8)",
        "9)",
        "2)",
        "10)",
        "13)",
    ]
