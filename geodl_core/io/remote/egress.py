"""The way out in service mode: a proxy on the loopback interface that lets through what is public.

To check a name before libcurl opens it is not enough: libcurl asks for the address again, which may be another one by
then, and follows redirects by itself. So GDAL and requests are pointed at this proxy: each connection, of each redirect
too, is asked for here; the name is looked up once, and the address that was judged is the one connected to.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from secrets import token_urlsafe
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from geodl_core.domain.place.address import AllowedHosts, plain_host, refusal
from geodl_core.io.remote.egress_http import USER, EgressServer, Limits, RefusedError

MOST_REFUSALS = 1000
Resolve = Callable[[str, int], Sequence[str]]


class EgressProxy:
    """An HTTP proxy at a free port of 127.0.0.1, for this process alone: it asks for a password of its own.

    Args:
        allowed: what may be read although it is not public.
        resolve: host, port → addresses.
        limits: of servers.
    """

    def __init__(self, allowed: AllowedHosts, resolve: Resolve | None = None, limits: Limits | None = None) -> None:
        self.allowed, self.resolve, self.limits = allowed, resolve or addresses_of, limits or Limits()
        self.password = token_urlsafe(24)
        self.served = 0
        """Requests and tunnels that were let through."""
        self._refusals: dict[tuple[str, int], str] = {}
        self._server = EgressServer(self.password, self.connect, self.limits)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="egress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """With user and password."""
        return f"http://{USER}:{self.password}@{self.address}"

    def why_refused(self, url: str) -> str | None:
        """Return why the host of a URL was refused, None if it was not."""
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            return None
        return self._refusals.get((plain_host(parts.hostname or ""), port))

    def connect(self, host: str, port: int) -> socket.socket:
        """Connect to a host, whose name is looked up once.

        Raises:
            RefusedError: one of its addresses is out of bounds.
            OSError: it cannot be reached.
        """
        addresses = self.resolve(host, port)
        why = refusal(host, port, addresses, self.allowed) if addresses else "it has no address"
        if why:
            if len(self._refusals) < MOST_REFUSALS:
                self._refusals[plain_host(host), port] = why
            raise RefusedError(why)
        problem: OSError | None = None
        for address in addresses:
            try:
                upstream = socket.create_connection((address, port), self.limits.connect_s)
            except OSError as error:
                problem = error
            else:
                self.served += 1
                self._refusals.pop((plain_host(host), port), None)
                upstream.settimeout(self.limits.pace_s)
                return upstream
        raise problem or OSError("no address")


def addresses_of(host: str, port: int) -> list[str]:
    """Return a host's addresses, as the system finds them.

    Raises:
        OSError: there is no such host.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("no name of a host") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
