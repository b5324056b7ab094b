"""Who sent a request, as far as its address tells: the peer, or whom the proxies that we trust name.

Each proxy appends to `X-Forwarded-For` the address that it was asked from. So the list is read from its end, over the
proxies we know, and the first other address is the client: what stands before it, the client may have written itself.
"""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOBODY = "unknown"  # a peer without an IP address, on a Unix socket for instance
MAX_HOPS = 20  # entries of X-Forwarded-For that are looked at
IPV6_SITE = 64  # bits: whoever has one address of these has all of them


def networks(text: str) -> tuple[Network, ...]:
    """The networks of a comma-separated list of addresses and networks. Raises `ValueError`."""
    return tuple(_network(entry.strip()) for entry in text.split(",") if entry.strip())


def client(peer: str | None, forwarded: Sequence[str], trusted: Collection[Network]) -> str:
    """Under which name a client is counted: its IPv4 address, or the network of its IPv6 address.

    `peer` is the address at the other end of the connection, `forwarded` the lines of `X-Forwarded-For` in their order.
    An entry that is no address ends the walk: then the proxy that wrote it is the client.
    """
    found = _address(peer or "")
    entries = ",".join(forwarded).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    while found and entries and any(found in network for network in trusted):
        if not (entry := entries.pop().strip()):
            continue
        if (named := _address(entry)) is None:
            break
        found = named
    return _counted_as(found) if found else NOBODY


def _network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError("must be a list of addresses and networks such as 10.0.0.0/8,192.0.2.7,fd00::/8") from None
    if not network.prefixlen:
        raise ValueError("must not hold every address: clients could then choose the one they are counted under")
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network


def _address(text: str) -> Address | None:
    """The address of `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1` or `[2001:db8::1]:443`; None for anything else."""
    host = text.strip('"')
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _counted_as(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, IPV6_SITE), strict=False))
