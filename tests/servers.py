"""A real HTTP/1.1 server of a folder's files, slow or faulty on purpose; for tests and scripts/bench."""

import io
import re
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit
from zlib import crc32

CHUNK_BYTES = 1 << 16
Kind = Literal["status", "hang", "cut", "change", "truncate"]


@dataclass(slots=True)
class Request:
    """What was asked and answered; written while it is being answered."""

    method: str
    path: str
    range: str | None
    """The header as sent, `bytes=0-16383`."""
    status: int = 0
    """0 where nothing was answered."""
    sent_bytes: int = 0
    """Of the body."""
    is_over: bool = False


@dataclass(slots=True)
class Fault:
    """What goes wrong with the requests number `after` + 1 to `after` + `count` of a path."""

    pattern: str
    kind: Kind
    value: Any
    after: int
    count: int | None
    seen: int = 0

    def strikes(self) -> bool:
        """Count a request and say whether the fault is its."""
        self.seen += 1
        return self.seen > self.after and (self.count is None or self.seen <= self.after + self.count)


class FileServer:
    """Serves a folder on 127.0.0.1 at a free port with HEAD, GET, Range, If-Match, If-Range, ETag and Last-Modified.

    A range of several parts is answered by the whole file, as the standard allows. Faults hold for paths that match a
    pattern (`/scene.tif`, `/*`), from the request after the `after`-th of those that come once the fault is set, for
    `count` requests (None: for good). A context manager; when it ends, so has every thread and connection.

    Args:
        folder: what is served.
        delay_s: waited before each answer.
        bytes_per_s: of the body, for each connection; None for as fast as it goes.
    """

    def __init__(self, folder: Path, *, delay_s: float = 0.0, bytes_per_s: float | None = None) -> None:
        self.folder, self.delay_s, self.bytes_per_s = folder.resolve(), delay_s, bytes_per_s
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._http = _Http(self)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._requests: list[Request] = []
        self._in_flight = self._most_in_flight = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.hang_up()
        self._http.server_close()
        self._thread.join()

    def url(self, path: str = "/") -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self._http.server_port}/{path.removeprefix('/')}"

    @property
    def requests(self) -> tuple[Request, ...]:
        """All requests, in the order in which they came."""
        with self._lock:
            return tuple(self._requests)

    @property
    def bytes_sent(self) -> int:
        """Of all bodies."""
        return sum(request.sent_bytes for request in self.requests)

    @property
    def in_flight(self) -> int:
        """Requests that are being answered now."""
        return self._in_flight

    @property
    def most_in_flight(self) -> int:
        """The most requests that were being answered at a time."""
        return self._most_in_flight

    def reset(self) -> None:
        """Forget the requests; faults stay."""
        with self._lock:
            self._requests.clear()
            self._most_in_flight = self._in_flight

    def fail(self, pattern: str, status: int = 503, *, after: int = 0, count: int | None = None) -> None:
        """Answer with a status and no file."""
        self._add(Fault(pattern, "status", status, after, count))

    def hang(self, pattern: str, *, after: int = 0, count: int | None = None) -> None:
        """Answer nothing until the client gives up."""
        self._add(Fault(pattern, "hang", None, after, count))

    def cut(self, pattern: str, *, after: int = 0, count: int | None = None) -> None:
        """Close the connection after half of the promised body."""
        self._add(Fault(pattern, "cut", None, after, count))

    def change(self, pattern: str, content: bytes | None = None, *, after: int = 0, count: int | None = None) -> None:
        """Serve another version of the file: an ETag and, if given, a content of its own."""
        self._add(Fault(pattern, "change", content, after, count))

    def truncate(self, pattern: str, size: int, *, after: int = 0, count: int | None = None) -> None:
        """Serve the first bytes alone, as if the file had no more; its size is part of its ETag."""
        self._add(Fault(pattern, "truncate", size, after, count))

    def heal(self) -> None:
        """Take all faults away."""
        with self._lock:
            self._faults.clear()

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def begin(self, request: Request) -> dict[Kind, Any]:
        """Count a request in and return its faults: kind → value; of two of a kind the older one is taken."""
        with self._lock:
            self._requests.append(request)
            self._in_flight += 1
            self._most_in_flight = max(self._most_in_flight, self._in_flight)
            # Every fault counts every request of its own, also where another one strikes.
            hits = [fault for fault in self._faults if fnmatchcase(request.path, fault.pattern) and fault.strikes()]
            return {fault.kind: fault.value for fault in reversed(hits)}

    def end(self, request: Request) -> None:
        """Count a request out, once."""
        with self._lock:
            self._in_flight -= not request.is_over
            request.is_over = True


class _Http(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for the threads
    request_queue_size = 128

    def __init__(self, files: FileServer) -> None:
        self.files = files
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End all connections, or closing would wait for clients that keep theirs open."""
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class _Version:
    """A file as one request sees it."""

    file: Path
    content: bytes | None
    """In place of the file's own."""
    size: int
    etag: str
    modified: str


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: the second would wait 40 ms for the client's ACK

    def do_GET(self) -> None:
        files = self.server.files
        self._request = Request(self.command, unquote(urlsplit(self.path).path), self.headers.get("Range"))
        faults = files.begin(self._request)
        try:
            files.closing.wait(files.delay_s)
            self._answer(self._request.path, faults)
        except ConnectionError:
            self.close_connection = True
        finally:
            files.end(self._request)

    do_HEAD = do_GET

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""

    def _answer(self, path: str, faults: dict[Kind, Any]) -> None:
        if "hang" in faults:
            self.close_connection = True
            self.connection.recv(1, socket.MSG_PEEK)  # returns when the client or the server closes the connection
            return
        version = self._version(path, faults)
        if "status" in faults or version is None:
            self._send_head(faults.get("status", 404), 0)
            return
        if self.headers.get("If-Match", "*") not in {version.etag, "*"}:
            self._send_head(412, 0)
            return
        wanted = self._range(version)
        start, end = wanted or (0, version.size)
        headers = {"ETag": version.etag, "Last-Modified": version.modified, "Accept-Ranges": "bytes"}
        if wanted is None:
            self._send_head(200, version.size, headers)
        elif start >= end:
            self._send_head(416, 0, {"Content-Range": f"bytes */{version.size}"})
            return
        else:
            self._send_head(206, end - start, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{version.size}"})
        if self.command == "GET":
            self._send_body(version, start, start + (end - start) // 2 if "cut" in faults else end)
        self.close_connection |= "cut" in faults

    def _version(self, path: str, faults: dict[Kind, Any]) -> _Version | None:
        """Return the file at a path as the faults make it, or None: not there, or outside the folder."""
        file = (self.server.files.folder / path.lstrip("/")).resolve()
        if not (file.is_relative_to(self.server.files.folder) and file.is_file()):
            return None
        state, content = file.stat(), faults.get("change")
        size = state.st_size if content is None else len(content)
        size = min(size, faults.get("truncate", size))
        mark = f"-{crc32(content or b''):x}" if "change" in faults else ""
        modified = formatdate(state.st_mtime + ("change" in faults), usegmt=True)
        return _Version(file, content, size, f'"{state.st_mtime_ns:x}-{size:x}{mark}"', modified)

    def _range(self, version: _Version) -> tuple[int, int] | None:
        """Return the bytes asked for, end-exclusive, or None for the whole file; empty if they lie outside it."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        is_current = self.headers.get("If-Range", version.etag) in {version.etag, version.modified}
        if self.command != "GET" or not match or not is_current or match[0] == "bytes=-":
            return None
        if not match[1]:
            return max(0, version.size - int(match[2])), version.size
        end = int(match[2]) + 1 if match[2] else version.size
        return int(match[1]), min(end, version.size)

    def _send_head(self, status: int, length: int, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self._request.status = status
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        if not length or self.command == "HEAD":
            self.server.files.end(self._request)
        self.end_headers()

    def _send_body(self, version: _Version, start: int, end: int) -> None:
        began, files, sent = time.monotonic(), self.server.files, 0
        with io.BytesIO(version.content) if version.content is not None else version.file.open("rb") as source:
            source.seek(start)
            while sent < end - start and not files.closing.is_set():
                chunk = source.read(min(CHUNK_BYTES, end - start - sent))
                sent += len(chunk)
                # A lead of a millisecond is let go: shorter waits take longer than asked for.
                if files.bytes_per_s and (lead_s := began + sent / files.bytes_per_s - time.monotonic()) > 0.001:
                    files.closing.wait(lead_s)
                # Counted before it leaves, so that a client that has its answer finds it counted.
                self._request.sent_bytes = sent
                if sent == end - start:
                    files.end(self._request)
                self.wfile.write(chunk)
                if not chunk:  # somebody shortened the file meanwhile
                    self.close_connection = True
                    return
