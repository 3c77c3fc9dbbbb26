"""The client's network process, wired together."""

import os

from wg_dynamic.client.driver import Driver
from wg_dynamic.client.machine import LeaseClient
from wg_dynamic.client.subscription import Subscription
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import ClientStart
from wg_dynamic.system.clock import Clock


def keep_lease(start: ClientStart, channel: Channel, clock: Clock) -> None:
    """Keep a lease until the helper says Stop. Raises EOFError when the helper is gone."""
    Driver(start, channel, LeaseClient(_jitter), clock, Subscription(_jitter)).run()


def _jitter() -> float:
    """From -1 to 1, evenly. `random` would do; importing it costs a start some milliseconds."""
    return int.from_bytes(os.urandom(4), "big") / (1 << 31) - 1.0
