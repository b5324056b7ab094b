"""Client addresses: what a client writes itself never decides under which address it is counted."""

import pytest

from todo_service.config.trusted_proxies import MAX_HOPS, client_address, networks

TRUSTED = networks("10.0.0.0/8, 192.0.2.7,fd00::/8, ::ffff:172.16.0.0/108")


@pytest.mark.parametrize(
    ("peer", "forwarded", "counted"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 10.9.9.9, 198.51.100.1, 192.0.2.7"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1", "192.0.2.7"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1, , ,"], "198.51.100.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ['"198.51.100.1"'], "198.51.100.1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("172.16.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["[2001:db8:1:2:3::4]:443"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ['"[2001:db8:1:2:3::4]"'], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["[2001:db8"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1/8", "1.2.3"], "10.0.0.1"),
        ("10.0.0.1", ["١.٢.٣.٤"], "10.0.0.1"),
        ("fd00::1", ["198.51.100.1"], "198.51.100.1"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("2001:db8::1", [], "2001:db8::/64"),
        ("2001:db8::ffff:1", [], "2001:db8::/64"),
        ("", ["198.51.100.1"], "unknown"),
        (None, ["198.51.100.1"], "unknown"),
    ],
)
def test_under_which_name_a_client_is_counted(peer: str | None, forwarded: list[str], counted: str) -> None:
    assert client_address(peer, forwarded, TRUSTED) == counted


def test_without_trusted_proxies_the_header_is_not_looked_at() -> None:
    assert client_address("127.0.0.1", ["198.51.100.1"], ()) == "127.0.0.1"


def test_a_long_header_is_looked_at_from_its_end_for_a_few_entries_only() -> None:
    own = ", ".join(["10.0.0.1"] * 2 * MAX_HOPS)
    assert client_address("10.0.0.9", [f"198.51.100.1, {own}"], TRUSTED) == "10.0.0.1"


@pytest.mark.parametrize("text", ["10.0.0.1/8", "0.0.0.0/0", "::/0", "proxy.example.com", "10.0.0.0-10.0.0.9", "*"])
def test_networks_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        networks(f"192.0.2.1,{text}")


def test_networks_with_spaces_and_empty_entries() -> None:
    assert [str(network) for network in networks(" 10.0.0.0/8 , ,::1,")] == ["10.0.0.0/8", "::1/128"]
