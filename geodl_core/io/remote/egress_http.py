"""The egress proxy's side towards its clients: CONNECT for https; GET, HEAD and POST for http."""

import selectors
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hmac import compare_digest
from http.client import HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

USER = "geodl"
REFUSED = "Geodl-Refused"
"""Header of an answer of the proxy's own: why."""
CHUNK_BYTES = 1 << 16
MOST_BODY_BYTES = 8 << 20
"""Of a request that is passed on: searches of STAC APIs are the largest."""
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "upgrade", "host"}
Connect = Callable[[str, int], socket.socket]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server may take."""

    connect_s: float = 10.0
    head_s: float = 30.0
    """Until the headers of an answer are there, all of them."""
    pace_s: float = 20.0
    pace_bytes: int = 20_000
    """To come within each `pace_s`, or the connection ends: a kept-alive one that is idle, and one that trickles."""


class RefusedError(Exception):
    """A host that may not be read."""


class EgressServer(ThreadingHTTPServer):
    """Serves clients that know the password; `connect` judges where they want to go."""

    daemon_threads = True
    block_on_close = True
    request_queue_size = 128

    def __init__(self, password: str, connect: Connect, limits: Limits) -> None:
        self.connect, self.limits = connect, limits
        self.open: set[socket.socket] = set()
        self.authorization = "Basic " + b64encode(f"{USER}:{password}".encode()).decode()
        super().__init__(("127.0.0.1", 0), _Handler)

    def hang_up(self) -> None:
        """End all connections."""
        for connection in tuple(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: what a client or server breaks off is its own affair, and URLs do not belong into logs."""


class _Handler(BaseHTTPRequestHandler):
    server: EgressServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_CONNECT(self) -> None:
        host, _, port = self.path.rpartition(":")
        if host and port.isdecimal():
            with self._upstream(host.strip("[]"), int(port)) as upstream:
                if upstream is not None:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    self._tunnel(upstream)
        else:
            self._refuse(400, "expected host:port")

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.scheme != "http" or not url.hostname:
            self._refuse(403, "expected a URL of http or https")
            return
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES or "Transfer-Encoding" in self.headers:
            self._refuse(413, f"expected a body of a known length, {MOST_BODY_BYTES:,} bytes at most")
            return
        body = self.rfile.read(int(length))
        with self._upstream(url.hostname, url.port or 80) as upstream:
            if upstream is not None:
                upstream.sendall(self._request_head(url.netloc.rpartition("@")[2], url) + body)
                self._relay(upstream)

    do_HEAD = do_POST = do_GET  # noqa: N815  # the base class's way to name methods

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""

    @contextmanager
    def _upstream(self, host: str, port: int) -> Iterator[socket.socket | None]:
        """Connect to a server; None, answered, where that may not or cannot be."""
        self.close_connection = True
        given = self.headers.get("Proxy-Authorization", "").encode()
        if not compare_digest(given, self.server.authorization.encode()):
            self._refuse(407, "who are you?")
            yield None
            return
        try:
            upstream = self.server.connect(host, port)
        except RefusedError as error:
            self._refuse(403, str(error))
            yield None
            return
        except (OSError, ValueError):
            self._refuse(502, None)
            yield None
            return
        self.server.open.add(upstream)
        try:
            with upstream:
                yield upstream
        except (OSError, HTTPException, ValueError):
            pass  # the client finds its connection closed
        finally:
            self.server.open.discard(upstream)

    def _refuse(self, status: int, why: str | None) -> None:
        self.close_connection = True
        self.send_response_only(status)
        if why:
            self.send_header(REFUSED, why)
        if status == 407:
            self.send_header("Proxy-Authenticate", 'Basic realm="geodl"')
        body = b"" if self.command == "HEAD" else f"{why or 'not reached'}\n".encode()
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _request_head(self, host: str, url: Any) -> bytes:
        target = url._replace(scheme="", netloc="", fragment="").geturl() or "/"
        lines = [f"{self.command} {target if target.startswith('/') else '/' + target} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")

    def _relay(self, upstream: socket.socket) -> None:
        """Pass a server's answer on; what it says of the connection is this proxy's to say."""
        deadline = threading.Timer(self.server.limits.head_s, _break_off, (upstream,))
        deadline.daemon = True
        deadline.start()
        with HTTPResponse(upstream, method=self.command) as response:
            try:
                response.begin()
            finally:
                deadline.cancel()
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in (*HOP_BY_HOP, "transfer-encoding", REFUSED.lower()):
                    self.send_header(name, " ".join(value.split()))
            self.send_header("Connection", "close")
            self.end_headers()
            pace = _Pace(self.server.limits)
            while pace.is_kept() and (chunk := response.read1(CHUNK_BYTES)):
                self.wfile.write(chunk)
                pace.add(len(chunk))

    def _tunnel(self, upstream: socket.socket) -> None:
        pace = _Pace(self.server.limits)
        others = {upstream: self.connection, self.connection: upstream}
        with selectors.DefaultSelector() as ready:
            for end in others:
                ready.register(end, selectors.EVENT_READ)
            while pace.is_kept():
                for key, _ in ready.select(self.server.limits.pace_s / 4):
                    side: Any = key.fileobj
                    chunk = side.recv(CHUNK_BYTES)
                    if not chunk:
                        return
                    others[side].sendall(chunk)
                    pace.add(len(chunk) if side is upstream else 0)


class _Pace:
    """How fast a server is."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._since, self._bytes = limits, time.monotonic(), 0

    def add(self, count: int) -> None:
        self._bytes += count

    def is_kept(self) -> bool:
        now = time.monotonic()
        if now - self._since < self._limits.pace_s:
            return True
        was_kept = self._bytes >= self._limits.pace_bytes
        self._since, self._bytes = now, 0
        return was_kept


def _break_off(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
