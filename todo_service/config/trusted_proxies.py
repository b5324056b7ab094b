"""TRUSTED_PROXIES, the client's address behind them, and the path prefix in front of them.

Each proxy appends the address of its peer to `X-Forwarded-For`. The list is read from its end, past the trusted
proxies; the first other address is the client. Entries before it may have been written by the client itself.
"""

import re
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"  # a peer without an IP address, for instance on a Unix socket
MAX_HOPS = 20  # entries of X-Forwarded-For that are looked at
IPV6_SITE = 64  # bits: one client holds the whole network
MAX_PREFIX = 255  # characters of a path prefix
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


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
    while entries and _is_trusted(address, trusted):
        if not (entry := entries.pop().strip()):
            continue
        if (previous := _address(entry)) is None:
            break
        address = previous
    return _counted_as(address) if address else UNKNOWN


def path_prefix(text: str) -> str:
    """Return a path prefix without a slash at its end: `/todo` of `/todo/`, empty of `/`. Raises `ValueError`."""
    text = text.strip()
    if len(text) > MAX_PREFIX or not _PREFIX.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise ValueError("must be a path such as /todo, of letters, digits, dots, hyphens and underscores")
    return text.removesuffix("/")


def forwarded_prefix(peer: str | None, values: Sequence[str], trusted: Collection[Network]) -> str:
    """Return the prefix in `X-Forwarded-Prefix`; empty if the peer is no trusted proxy or a value is no prefix.

    Several proxies that each take a prefix off write several values, the outermost first.
    """
    if not _is_trusted(_address(peer or ""), trusted):
        return ""
    try:
        return path_prefix("".join(path_prefix(value) for value in ",".join(values).split(",")))
    except ValueError:
        return ""


def counted_network(address: str) -> str:
    """Return the name that an IPv6 address is counted under."""
    known = _address(address)
    return _counted_as(known) if known else UNKNOWN


def is_trusted_peer(address: str, trusted: Collection[Network]) -> bool:
    """Return whether the peer of a socket is a trusted proxy."""
    return _is_trusted(_address(address), trusted)


def _is_trusted(address: Address | None, trusted: Collection[Network]) -> bool:
    return address is not None and any(address in network for network in trusted)


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
