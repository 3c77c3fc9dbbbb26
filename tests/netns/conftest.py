"""Fixtures for tests with namespaces and real WireGuard. All tests below are marked `netns`."""

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.netns.daemons import database_path
from tools.netlab import Host, Lab
from tools.star import Member, make_star


@dataclass(frozen=True, slots=True)
class HubAndClient:
    """Two hosts with a tunnel between them, and no lease yet."""

    hub: Member
    client: Member


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An open lab; WG_DYNAMIC_TEST_BACKEND says with which WireGuard."""
    with Lab() as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_host() -> Iterator[Host]:
    """A host that all tests of a file use: each takes back what it has made there."""
    with Lab() as opened:
        yield opened.host("host")


@pytest.fixture
def database() -> Iterator[Path]:
    """A file that the service account can reach, in a directory that the server has to make."""
    with database_path() as path:
        yield path


@pytest.fixture
def hub_and_client(lab: Lab, request: pytest.FixtureRequest) -> HubAndClient:
    """wg0 on both sides: fe80::/64 at the hub, fe80::1/128 at the client.

    The client allows its server peer fe80::/128, or what the test says:
    `@pytest.mark.parametrize("hub_and_client", [("0.0.0.0/0", "::/0")], indirect=True)`.
    """
    star = make_star(lab, server_allowed_ips=getattr(request, "param", ("fe80::/128",)))
    return HubAndClient(star.hub, star.clients[0])


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.netns)


@pytest.hookimpl(trylast=True)  # what -m leaves is halved
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With WG_DYNAMIC_TEST_PART=1/2, leave the second half of the tests to another guest.

    What is marked `kernel` is in each part.
    """
    part, _, parts = os.environ.get("WG_DYNAMIC_TEST_PART", "1/1").partition("/")
    shared = [item for item in items if not item.get_closest_marker("kernel")]
    others = {item for number, item in enumerate(shared) if number % int(parts) != int(part) - 1}
    config.hook.pytest_deselected(items=[item for item in items if item in others])
    items[:] = [item for item in items if item not in others]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the programs in the lab had printed when the test failed."""
    report = yield
    opened = getattr(item, "funcargs", {}).get("lab")
    if report.failed and isinstance(opened, Lab) and opened.logs():
        report.sections.append(("programs in the lab", opened.logs()))
    return report
