"""A signed POST to somebody's server: to an address that was judged, without redirects, within bounds of time."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from urllib.parse import urlsplit

from geodl_core.domain.place.address import AllowedHosts, read_allowed, refusal
from geodl_core.io.remote.egress import addresses_of

CONNECT_S = 10.0
WHOLE_S = 30.0
"""From the first byte that is sent to the headers of the answer."""
PRIVATE = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1/128,fc00::/7"
"""Where a webhook may lie whose owner has said that it may."""


@dataclass(frozen=True, slots=True)
class Sender:
    """How messages are sent."""

    allowed: AllowedHosts = field(default_factory=AllowedHosts)
    """By the operator, for all webhooks, though they are not public."""
    resolve: Callable[[str, int], Sequence[str]] = addresses_of
    """Host, port → addresses."""
    tls: ssl.SSLContext | None = None
    """None: the system's certificates."""
    whole_s: float = WHOLE_S


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent where."""

    url: str
    is_private: bool
    headers: Mapping[str, str]
    body: bytes


def post(sender: Sender, message: Message) -> tuple[bool, str]:
    """Send a message; return whether it was taken, and what came of it in a word or two.

    The name is looked up once, and the address that was judged is the one connected to. Redirects are not followed;
    the body of the answer is not read.
    """
    url = urlsplit(message.url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    try:
        addresses = sender.resolve(host, port)
    except OSError:
        return False, "no such host"
    why = _refusal(sender, message, (host, port), addresses) if addresses else "no such host"
    if why:
        return False, f"refused: {why}"
    try:
        with _connected(sender, addresses, (host, port, url.scheme == "https")) as connection:
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("POST", target, body=message.body, headers=dict(message.headers))
            status = connection.getresponse().status
    except ssl.SSLError as error:
        return False, f"TLS: {error.reason or type(error).__name__}"
    except (OSError, HTTPException, ValueError) as error:
        return False, f"no answer ({type(error).__name__})"
    return 200 <= status < 300, f"answered {status}"


def _refusal(sender: Sender, message: Message, place: tuple[str, int], addresses: Sequence[str]) -> str | None:
    """Return why a place may not be asked."""
    host, port = place
    if not message.is_private:
        return refusal(host, port, addresses, sender.allowed)
    networks = read_allowed(PRIVATE).networks
    inside = all(any(ip_address(each.partition("%")[0]) in network for network in networks) for each in addresses)
    # On this machine and in private networks any port serves; what is public is judged as always.
    return None if inside else refusal(host, port, addresses, sender.allowed)


@contextmanager
def _connected(sender: Sender, addresses: Sequence[str], place: tuple[str, int, bool]) -> Iterator[HTTPConnection]:
    host, port, is_tls = place
    connection = HTTPConnection(f"[{host}]" if ":" in host else host, port)
    connection.default_port = 443 if is_tls else 80
    connection.sock = _first(addresses, port)
    stop = threading.Timer(sender.whole_s, _break_off, (connection,))
    stop.daemon = True
    stop.start()
    try:
        connection.sock.settimeout(sender.whole_s)
        if is_tls:
            context = sender.tls or ssl.create_default_context()
            # The handshake comes after, so that the timer finds the socket that is in use.
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host, do_handshake_on_connect=False)
            connection.sock.do_handshake()
        yield connection
    finally:
        stop.cancel()
        connection.close()


def _first(addresses: Sequence[str], port: int) -> socket.socket:
    problem: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((address, port), CONNECT_S)
        except OSError as error:
            problem = error
    raise problem or OSError("no address")


def _break_off(connection: HTTPConnection) -> None:
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)
