"""Addresses: public ones, and what an operator allows besides."""

import pytest

from geodl_core.domain.place.address import AllowedHosts, is_public, read_allowed, refusal
from geodl_core.errors import InputError

NOWHERE = AllowedHosts()


@pytest.mark.parametrize("address", ["8.8.8.8", "52.218.0.1", "2600:1f18::1", "2001:4860:4860::8888"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    """What everybody reaches is public, in IPv4 and IPv6."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "224.0.0.1"),
        *("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "255.255.255.255"),
        *(
            "240.0.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fe80::1%eth0",
            "fec0::1",
            "fc00::1",
            "ff02::1",
        ),
        *("fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a00:1", "::127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1", "2001:db8::1"),
    ],
)
def test_other_addresses_are_not(address: str) -> None:
    """Loopback, private, link-local, shared, reserved, multicast, and IPv6 that leads to them, are not public."""
    assert not is_public(address)


def test_all_addresses_of_a_name_must_be_public() -> None:
    """One address out of bounds is enough."""
    assert refusal("files.example.com", 443, ["8.8.8.8"], NOWHERE) is None
    assert refusal("files.example.com", 443, ["8.8.8.8", "10.0.0.1"], NOWHERE) == "its address is not public"


@pytest.mark.parametrize(
    "name", ["localhost", "x.localhost", "metadata.google.internal", "printer.local", "LOCALHOST."]
)
def test_local_names_are_refused(name: str) -> None:
    """Names that mean this machine or network are refused whatever they stand for."""
    assert refusal(name, 80, ["8.8.8.8"], NOWHERE) == "its address is not public"


def test_other_ports_are_refused() -> None:
    """A database of a public host is none of an Item's business."""
    assert refusal("files.example.com", 5432, ["8.8.8.8"], NOWHERE) == "port 5432 is none of 80, 443"


def test_allowed_hosts_pass_at_their_port() -> None:
    """HOST:PORT allows that port, HOST the usual ones, *.NAME all below, a network its addresses."""
    allowed = read_allowed("minio.lan:9000, Files.Internal, *.corp.example, 10.1.0.0/16, [fd12::1]:8443")
    assert refusal("minio.lan", 9000, ["10.0.0.9"], allowed) is None
    assert refusal("minio.lan", 9001, ["10.0.0.9"], allowed)
    assert refusal("files.internal.", 443, ["10.0.0.9"], allowed) is None
    assert refusal("a.b.corp.example", 80, ["192.168.0.3"], allowed) is None
    assert refusal("corp.example", 80, ["192.168.0.3"], allowed)
    assert refusal("evilcorp.example", 80, ["192.168.0.3"], allowed)
    assert refusal("whatever.example", 443, ["10.1.2.3"], allowed) is None
    assert refusal("whatever.example", 443, ["10.1.2.3", "10.2.2.3"], allowed)
    assert refusal("[fd12::1]", 8443, ["fd12::1"], allowed) is None


def test_an_allowed_name_does_not_allow_the_machines_own_services() -> None:
    """Who owns an allowed name cannot point it at the metadata address; naming the address itself is leave."""
    allowed = read_allowed("files.example.com")
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "168.63.129.16"):
        assert refusal("files.example.com", 80, [address], allowed)
    assert refusal("169.254.169.254", 80, ["169.254.169.254"], read_allowed("169.254.169.254")) is None
    assert refusal("2852039166", 80, ["169.254.169.254"], read_allowed("169.254.169.254:80"))


@pytest.mark.parametrize("text", ["http://x", "10.0.0.0/40", "a:b", "a:99999", "a/b"])
def test_what_is_no_host_is_refused(text: str) -> None:
    """A setting that would silently allow nothing, or too much, is an error."""
    with pytest.raises(InputError, match="allowed hosts"):
        read_allowed(text)
