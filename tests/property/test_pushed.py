"""However the levels are filled: what a client is told keeps to its promises and fits the wire."""

from ipaddress import ip_address, ip_network
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from wg_dynamic.address import Prefix
from wg_dynamic.leases.pool import parse_pool
from wg_dynamic.leases.push import MAX_METRIC, MIN_MTU, Push, PushedRoute
from wg_dynamic.leases.terms import LeaseTerms, PeerTerms, PoolTerms
from wg_dynamic.protocol import ClientConnection, LeasedAddress, RequestIP, RequestIPReply
from wg_dynamic.protocol.codec import encode_message
from wg_dynamic.server.pushed import Pushed

KEYS = [bytes([number]) * 32 for number in range(3)]
POOLS = ["10.44.0.0/24", "fd00:44::/64", "10.45.0.0/16", "fd00:45::/112"]
ADDRESSES = [ip_network(text)[7] for text in (*POOLS, "10.46.0.0/24", "fd00:46::/64")]
NETWORKS = [Prefix(bytes([10, number, 0, 0]), 16) for number in range(4)]
NETWORKS += [Prefix(bytes([0xFD, number, *bytes(14)]), 16) for number in range(4)]


def pushes(is_ipv4: bool | None = None) -> st.SearchStrategy[Push]:
    networks = [one for one in NETWORKS if is_ipv4 is None or one.is_ipv4 is is_ipv4]
    route = st.builds(PushedRoute, st.sampled_from(networks), st.none() | st.just(MAX_METRIC))
    return st.builds(
        Push,
        st.none() | st.lists(route, max_size=4, unique_by=lambda one: one.network).map(tuple),
        st.none() | st.lists(st.sampled_from([bytes(4), bytes(16)]), unique=True).map(tuple),
        st.none() | st.lists(st.sampled_from(["a", "b.c"]), unique=True).map(tuple),
        st.none() | st.integers(MIN_MTU, MIN_MTU + 2),
    )


TERMS = st.builds(
    lambda for_all, of_pools, of_peers: LeaseTerms(
        tuple(
            PoolTerms(parse_pool(text), push=push)
            for text, push in zip(POOLS, of_pools, strict=True)
        ),
        push=for_all,
        peers=tuple(PeerTerms(key, push) for key, push in of_peers.items()),
    ),
    pushes(),
    st.tuples(*[pushes(":" not in text) for text in POOLS]),
    st.dictionaries(st.sampled_from(KEYS[:2]), pushes()),
)
LEASED = st.lists(st.sampled_from(ADDRESSES), unique=True)


def _family(route: PushedRoute) -> int:
    return 4 if route.network.is_ipv4 else 6


@settings(max_examples=300)
@given(TERMS, st.sampled_from(KEYS), LEASED, st.randoms(use_true_random=False))
def test_what_is_told_hangs_on_the_leases_and_not_on_their_order(
    terms: LeaseTerms, key: bytes, leased: list[object], random: Random
) -> None:
    pushed = Pushed(terms)
    packed = [ip_address(str(one)).packed for one in leased]
    told = pushed.told(key, packed)
    random.shuffle(packed)
    assert pushed.told(key, [*packed, *packed]) == told == Pushed(terms).told(key, packed)
    families = {ip_address(str(one)).version for one in leased}
    networks = [route.network for route in told.routes]
    assert {network.version for network in networks} <= families
    assert len(set(networks)) == len(networks)
    said = [terms.push, *[pool.push for pool in terms.pools], *[peer.push for peer in terms.peers]]
    assert {Prefix(one.network_address.packed, one.prefixlen) for one in networks} <= {
        route.network for push in said for route in push.routes or ()
    }
    assert told.mtu in [None, *[push.mtu for push in said]]
    if not leased:
        assert (told.routes, told.dns, told.mtu) == ((), (), None)
    for peer in terms.peers:
        if peer.public_key == key and leased:
            own = [one for one in peer.push.routes or () if _family(one) in families]
            told_to_it = [(str(one.network), one.metric) for one in told.routes]
            assert {(str(one.network), one.metric) for one in own} <= set(told_to_it)
            assert told.routes == () or peer.push.routes != ()
            assert peer.push.mtu in (None, told.mtu)


@settings(max_examples=100)
@given(TERMS, st.sampled_from(KEYS), LEASED.filter(bool))
def test_what_is_told_arrives_as_it_was_sent(
    terms: LeaseTerms, key: bytes, leased: list[object]
) -> None:
    ips = [ip_address(str(one)) for one in leased]
    told = Pushed(terms).told(key, [ip.packed for ip in ips])
    leases = tuple(LeasedAddress(ip, ip_network(ip), 60, 60) for ip in ips)
    sent = RequestIPReply(id=1, addresses=leases, routes=told.routes, dns=told.dns, mtu=told.mtu)
    client = ClientConnection()
    client.send(RequestIP(id=1))
    client.receive_data(encode_message(sent))
    assert client.next_event() == sent
