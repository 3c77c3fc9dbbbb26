"""What the client does about each `errno` (docs/protocol.md section 7 and 10.2). Pure.

None of them takes a lease away: what is held is kept to its end (5.5, 6.6). The reply of success
that names no address does. All are tried again, with the back-off of machine.py; what differs is
how soon at the earliest, when the server does not say so itself (`retry_after`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from wg_dynamic.protocol.errors import ErrorCode, error_code

SOMEBODY_MUST_ACT: Final = 60.0
"""Seconds: only another program, ours or the server's, would change the answer."""
AN_ADMINISTRATOR_MUST_ACT: Final = 30.0
"""Seconds: the hub's administrator is to give us a peer with our address, or a right."""
LEASES_MUST_END: Final = 10.0
"""Seconds: somebody else's lease, or our own quarantine, has to end first."""
SOON: Final = 2.0
"""Seconds: it passes by itself."""

LEAST_WAIT: Final[Mapping[ErrorCode, float]] = MappingProxyType(
    {
        ErrorCode.SUCCESS: 0.0,  # without an address: the lease is lost, and asked for anew
        ErrorCode.INVALID_REQUEST: SOMEBODY_MUST_ACT,
        ErrorCode.UNSUPPORTED_PROTOCOL: SOMEBODY_MUST_ACT,  # in version 1's form: fall back
        ErrorCode.UNAVAILABLE: 0.0,  # version 1: any other address is asked for next
        ErrorCode.EXHAUSTED: LEASES_MUST_END,
        ErrorCode.RATE_LIMITED: LEASES_MUST_END,
        ErrorCode.NOT_PERMITTED: AN_ADMINISTRATOR_MUST_ACT,
        ErrorCode.STORE_DOWN: SOON,
        ErrorCode.UNKNOWN_COMMAND: SOMEBODY_MUST_ACT,
        ErrorCode.NOT_UNDERSTOOD: SOMEBODY_MUST_ACT,
        ErrorCode.INTERNAL_ERROR: LEASES_MUST_END,
        ErrorCode.QUOTA_EXCEEDED: LEASES_MUST_END,
        ErrorCode.BUSY: SOON,
    }
)
"""Seconds before the next try, by what the server said."""


def least_wait(errno: int, retry_after: int | None) -> float | None:
    """Seconds to leave the server alone after an `errno`; None: our own back-off decides."""
    code = error_code(errno)
    least = LEAST_WAIT[code] if isinstance(code, ErrorCode) else SOON
    return max(least, float(retry_after or 0)) or None
