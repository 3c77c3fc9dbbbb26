"""Does something have a leased address already? Such an address is declined. Pure.

wg0 does no duplicate address detection, and what is on other links is known to the kernel only as
far as this machine talks to it. What the policy refuses for its prefix alone is not in use.
"""

from wg_dynamic.address import Prefix
from wg_dynamic.helper.policy import Surroundings


def is_in_use(address: Prefix, around: Surroundings) -> bool:
    """Whether another interface here, or a machine that this one needs, has this very address."""
    packed = address.packed
    if any(a.prefix.packed == packed and a.ifindex != around.ifindex for a in around.addresses):
        return True
    if packed in around.name_servers or any(r.gateway == packed for r in around.routes):
        return True
    endpoints = (peer.endpoint for peer in around.device.peers)
    return any(one is not None and one.packed == packed for one in endpoints)
