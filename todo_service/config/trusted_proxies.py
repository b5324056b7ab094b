"""TRUSTED_PROXIES, and the client's address behind them.

Each proxy appends the address of its peer to `X-Forwarded-For`. The list is read from its end, past the trusted
proxies; the first other address is the client. Entries before it may have been written by the client itself.
"""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"  # a peer without an IP address, for instance on a Unix socket
MAX_HOPS = 20  # entries of X-Forwarded-For that are looked at
IPV6_SITE = 64  # bits: one client holds the whole network


def networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a comma-separated list of addresses and networks. Raises `ValueError`."""
    return tuple(_network(entry.strip()) for entry in text.split(",") if entry.strip())


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Collection[Network]) -> str:
    """Return the name that a client is counted under: its IPv4 address, or the network of its IPv6 address.

    An entry that is not an address ends the search; then the proxy that wrote it is the client.

    Args:
        peer: The address at the other end of the connection.
        forwarded: The values of `X-Forwarded-For` in their order.
        trusted: The networks of the trusted proxies.
    """
    address = _address(peer or "")
    entries = ",".join(forwarded).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    while address and entries and any(address in network for network in trusted):
        if not (entry := entries.pop().strip()):
            continue
        if (previous := _address(entry)) is None:
            break
        address = previous
    return _counted_as(address) if address else UNKNOWN


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
    """Return the address of `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1` or `[2001:db8::1]:443`; or None."""
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
