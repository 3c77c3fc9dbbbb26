"""The lease: one address, held by one public key, until a point in time."""

from dataclasses import dataclass, replace

from wg_dynamic.address import IPV4_SIZE


@dataclass(frozen=True, slots=True)
class Lease:
    """One address of one peer (docs/protocol.md, "Lease life").

    A lease whose `ended` is false may stand in WireGuard's allowed IPs, even past `ends_at`: the
    address is free for others only once it was taken off there and `ended` is set. An ended lease
    is kept as a memory, so that the same public key gets the same address back.
    """

    public_key: bytes
    """32 bytes: the holder."""
    address: bytes
    """4 or 16 packed bytes."""
    lease_time: float
    """Seconds it was granted or last renewed for."""
    ends_at: float
    """CLOCK_BOOTTIME seconds."""
    ended: bool = False
    """Released or expired, and gone from the allowed IPs."""

    def is_over(self, now: float) -> bool:
        """Whether the holder may use the address no more."""
        return self.ended or now >= self.ends_at

    def end(self, now: float) -> "Lease":
        """The same lease as a memory, ended at `now` or earlier."""
        return replace(self, ends_at=min(now, self.ends_at), ended=True)

    @property
    def is_ipv4(self) -> bool:
        """Whether the address is an IPv4 one."""
        return len(self.address) == IPV4_SIZE
