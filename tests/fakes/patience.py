"""How a test waits inside an event loop: for a condition, never for a time."""

import asyncio
from collections.abc import Callable


async def until(holds: Callable[[], bool]) -> None:
    """Let other tasks go on until something holds; TimeoutError when it does not come to."""
    async with asyncio.timeout(5.0):
        while not holds():  # noqa: ASYNC110 - any condition, not only one that sets an Event
            await asyncio.sleep(0)


async def a_while() -> None:
    """Let other tasks go on long enough for one that does not wait to do what it should not."""
    for _ in range(100):
        await asyncio.sleep(0)
