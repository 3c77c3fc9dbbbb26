"""The client's network process, wired together."""

import random

from wg_dynamic.client.driver import Driver
from wg_dynamic.client.machine import LeaseClient
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import ClientStart
from wg_dynamic.system.clock import Clock


def keep_lease(start: ClientStart, channel: Channel, clock: Clock) -> None:
    """Keep a lease until the helper says Stop. Raises EOFError when the helper is gone."""
    machine = LeaseClient(lambda: random.uniform(-1.0, 1.0))  # noqa: S311 - only spreads load
    Driver(start, channel, machine, clock).run()
