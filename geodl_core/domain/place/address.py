"""Network addresses: which are public, and which an operator lets be read besides."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from geodl_core.errors import InputError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
WEB_PORTS = (80, 443)
LOCAL_NAMES = re.compile(r"(.*\.)?(localhost|local|internal|intranet|lan|home\.arpa|localdomain)")
# The machine's own services: those of AWS, Google and others, Azure, Alibaba, Oracle. Azure's has a public address;
# Python before 3.11.9 takes Oracle's for one.
MACHINE = tuple(
    ipaddress.ip_network(network)
    for network in ("169.254.0.0/16", "168.63.129.16", "100.100.100.200", "192.0.0.0/24", "fe80::/10", "fd00:ec2::/32")
)
NAT64 = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48")))
ENTRY = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]]+|[0-9a-fA-F:]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)(:(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """Hosts that may be read though they are not public."""

    names: frozenset[tuple[str, int | None]] = frozenset()
    """Name or address and port, None: the usual ones. `*.example.com` stands for all names below it."""
    networks: tuple[Network, ...] = ()


def read_allowed(text: str) -> AllowedHosts:
    """Read `HOST[:PORT]` and networks such as `10.0.0.0/8`, separated by commas.

    Raises:
        InputError: an entry is neither.
    """
    names, networks = set(), []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ipaddress.ip_network(entry.strip("[]")))
        except ValueError:
            found = ENTRY.fullmatch(entry)
            if found is None or "/" in entry or int(found["port"] or 1) > 65535:
                raise InputError(f"allowed hosts: expected HOST[:PORT] or a network, found {entry}") from None
            names.add((plain_host(found["host"]), int(found["port"]) if found["port"] else None))
    return AllowedHosts(frozenset(names), tuple(networks))


def plain_host(host: str) -> str:
    """Return a host as it is compared: lower case, without brackets, final dot and IPv6 zone."""
    return host.strip("[]").partition("%")[0].rstrip(".").lower()


def refusal(host: str, port: int, addresses: Sequence[str], allowed: AllowedHosts) -> str | None:
    """Return why a host may not be read, or None. It says nothing of the addresses, which strangers need not learn.

    Args:
        host: as the URL has it.
        port: of the URL.
        addresses: all that the name stands for; one that is out of bounds is enough.
        allowed: by the operator.
    """
    name = plain_host(host)
    found = [_address(address) for address in addresses]
    if _is_named(name, port, allowed):
        # A name is not leave for the machine's own services: names are pointed anywhere by who owns them.
        is_reached = any(_is_of_machine(one) and name != str(one) for one in found if not _is_within(one, allowed))
        return "its address belongs to a machine's own services" if is_reached else None
    if port not in WEB_PORTS:
        return f"port {port} is none of {', '.join(map(str, WEB_PORTS))}"
    if all(_is_within(one, allowed) for one in found):
        return None
    if LOCAL_NAMES.fullmatch(name) or not all(_is_public(one) or _is_within(one, allowed) for one in found):
        return "its address is not public"
    return None


def is_public(address: str) -> bool:
    """Say whether an address, IPv4 or IPv6, is one that everybody reaches."""
    return _is_public(_address(address))


def _is_public(address: Address) -> bool:
    inner = list(_embedded(address))
    if inner:
        return all(map(_is_public, inner))
    is_odd = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    is_local = address.is_private or address.is_link_local or getattr(address, "is_site_local", False)
    return address.is_global and not is_odd and not is_local and not _is_of_machine(address)


def _embedded(address: Address) -> Iterable[Address]:
    """Yield the IPv4 addresses that an IPv6 one leads to."""
    if address.version == 4:
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    if any(address in network for network in NAT64) or int(address) >> 32 == 0:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _is_of_machine(address: Address) -> bool:
    return any(one in network for one in (address, *_embedded(address)) for network in MACHINE)


def _is_within(address: Address, allowed: AllowedHosts) -> bool:
    return any(address in network for network in allowed.networks)


def _is_named(name: str, port: int, allowed: AllowedHosts) -> bool:
    wildcards = {"*." + name.split(".", count)[-1] for count in range(1, name.count(".") + 1)}
    for pattern, its_port in allowed.names:
        if (pattern == name or pattern in wildcards) and port in (WEB_PORTS if its_port is None else (its_port,)):
            return True
    return False


def _address(text: str) -> Address:
    return ipaddress.ip_address(text.partition("%")[0])
