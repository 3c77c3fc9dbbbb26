"""Whatever a hub pushes to whatever machine: what is in use there stays, and the sums are right."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from wg_dynamic.address import Prefix, host_prefix, parse_prefix
from wg_dynamic.helper.judgement import judge
from wg_dynamic.helper.policy import PRIVATE, Acceptance, Surroundings, is_wide
from wg_dynamic.helper.tunnel_routes import routes_of
from wg_dynamic.leases.pool import is_unicast
from wg_dynamic.netlink.control import Address, Route
from wg_dynamic.privsep.requests import AddressSetting, ApplyLease, RouteSetting
from wg_dynamic.wireguard.device import Device, Endpoint, Peer

WG0 = 3
HUB, OTHER = bytes([1]) * 32, bytes([2]) * 32
IPV4 = st.sampled_from([10, 127, 169, 172, 192, 224, 8]).flatmap(
    lambda first: st.builds(
        lambda second, third, fourth: bytes([first, second, third, fourth]),
        st.sampled_from([0, 1, 16, 168, 254, 255]),
        st.integers(0, 3),
        st.integers(0, 3),
    )
)
IPV6 = st.builds(
    lambda head, tail: head + bytes(13) + tail,
    st.sampled_from([b"\xfd\0", b"\xfe\x80", b"\x20\x01", b"\xff\x02", b"\0\0"]),
    st.binary(min_size=1, max_size=1),
)
PACKED = IPV4 | IPV6
NETWORKS = PACKED.flatmap(
    lambda packed: st.integers(0, len(packed) * 8).map(
        lambda length: Prefix(packed, length).network()
    )
)
ROUTES = st.builds(
    Route,
    NETWORKS,
    st.sampled_from([0, 1, 2, WG0]),
    kind=st.sampled_from([1, 1, 1, 6, 7, 8]),
    table=st.sampled_from([254, 100, 255]),
    gateway=st.none() | IPV4,
)


@st.composite
def machines(draw: st.DrawFn) -> Surroundings:
    hub = Peer(HUB, tuple(draw(st.lists(NETWORKS, max_size=3))), Endpoint(draw(PACKED), 51820))
    other = Peer(OTHER, tuple(draw(st.lists(NETWORKS, max_size=2))))
    interfaces = st.sampled_from([1, 2, WG0])
    addresses = st.builds(Address, interfaces, PACKED.map(host_prefix))
    named = st.lists(NETWORKS.filter(lambda network: network.length > 0), max_size=2).map(tuple)
    return Surroundings(
        ifindex=WG0,
        addresses=tuple(draw(st.lists(addresses, max_size=3))),
        routes=tuple(draw(st.lists(ROUTES, max_size=4))),
        device=Device(None, 51820, 0, (hub, other)),
        server_key=HUB,
        ours=frozenset(hub.allowed_ips[:1]) if draw(st.booleans()) else frozenset(),
        name_servers=tuple(draw(st.lists(PACKED, max_size=2))),
        accepts=Acceptance(draw(named), draw(named), draw(st.booleans())),
    )


@st.composite
def leases(draw: st.DrawFn) -> ApplyLease:
    settings = []
    for packed in draw(st.lists(PACKED, max_size=3, unique=True)):
        length = draw(st.integers(0, len(packed) * 8))
        network = Prefix(packed, length).network()
        settings.append(AddressSetting(host_prefix(packed), network, 60, 60))
    return ApplyLease(
        tuple(settings),
        tuple(RouteSetting(network) for network in draw(st.lists(NETWORKS, max_size=5))),
        name_servers=tuple(draw(st.lists(PACKED, max_size=3))),
        search=draw(st.sampled_from([(), ("com",)])),
        mtu=draw(st.integers(0, 2000)),
    )


@given(leases(), machines())
def test_what_is_in_use_here_stays(request: ApplyLease, around: Surroundings) -> None:
    judgement = judge(request, around, 1420)
    taken = judgement.taken
    networks = [*taken.networks(), *(one.address for one in taken.addresses)]
    hub, other = around.device.peers
    named = (*PRIVATE, *around.accepts.routes, *(p for p in hub.allowed_ips if not is_wide(p)))
    assert hub.endpoint is not None
    for network in networks:
        if network.length == 0:
            assert around.accepts.default_route
            assert network not in other.allowed_ips
            continue
        assert is_unicast(network)
        assert any(one.covers(network) for one in named)
        assert not network.covers(host_prefix(hub.endpoint.packed))
        leased = [one.network for one in taken.addresses]
        for address in around.addresses:  # one of ours inside a leased network is not moved
            inside = network.covers(address.prefix) and (network.is_host or network not in leased)
            assert address.ifindex == WG0 or not inside
        assert not any(network.overlaps(one) for one in other.allowed_ips if one.length > 0)
        for route in around.routes:
            if route.ifindex == WG0 or route.table == 255 or route.prefix.length == 0:
                continue
            assert not network.covers(route.prefix)
            if route.kind == 1 and route.gateway is None:
                assert not route.prefix.covers(network)
    assert not taken.mtu or 1280 <= taken.mtu < 1420
    assert all(
        any(one.covers(host_prefix(server)) for one in around.accepts.dns)
        for server in taken.name_servers
    )
    assert bool(taken.search) <= bool(taken.name_servers)


@given(leases(), machines())
def test_all_is_taken_or_refused_and_nothing_without_an_address(
    request: ApplyLease, around: Surroundings
) -> None:
    judgement = judge(request, around, 1420)
    taken = judgement.taken
    refused = {one.address for one in judgement.addresses}
    assert {one.address for one in taken.addresses} | refused == {
        one.address for one in request.addresses
    }
    if not taken.addresses:
        assert taken == type(taken)()
    families = {one.address.is_ipv4 for one in taken.addresses}
    for pushed in (*taken.routes, *taken.default_routes):
        assert pushed in request.routes
        assert pushed.network.is_ipv4 in families
    for route in routes_of(taken, WG0):
        hangs = route.preferred_source if route.prefix.is_ipv4 else route.expires_time
        assert hangs is not None
    judgement.answer()


@given(leases(), machines())
def test_naming_more_never_gives_less(request: ApplyLease, around: Surroundings) -> None:
    everything = tuple(
        parse_prefix(text) for text in ("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1")
    )
    less = judge(request, around, 1420).taken
    accepts = Acceptance(
        (*around.accepts.routes, *everything), (*around.accepts.dns, *everything), True
    )
    more = judge(request, replace(around, accepts=accepts), 1420).taken
    assert set(less.addresses) <= set(more.addresses)
    assert set(less.routes) <= set(more.routes)
    assert set(less.name_servers) <= set(more.name_servers)
