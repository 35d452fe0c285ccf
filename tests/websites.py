"""A small HTTP or HTTPS server whose answers a test writes itself."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Website:
    """What was asked, and where."""

    port: int
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def website(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[Website]:
    """Serve at a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.paths.append(self.path)
            site.headers.append(dict(self.headers))
            with suppress(OSError):
                answer(self)

        do_HEAD = do_POST = do_GET

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    site = Website(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """Answer, with the part of the body that was asked for."""
    asked = handler.headers.get("Range", "")
    if status == 200 and asked.startswith("bytes="):
        start, _, end = asked.removeprefix("bytes=").partition("-")
        stop = min(int(end) + 1 if end else len(body), len(body))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        status, body = 206, body[int(start) : stop]
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
