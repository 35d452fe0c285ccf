"""Processes of the `geodl` command, forked from one that has imported what it takes: to start one takes no time.

What Python or a library reads of the environment when it starts, and how strings are hashed, is the same in all.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any, Self

from forked import MOST_BYTES

MODES = ("w", "r", "r")
"""Of our ends of pipes."""
Stream = IO[Any] | int


class Forked:
    """A process, to be handled as one of `subprocess.Popen`.

    Args:
        words: of the command, without `geodl`.
        streams: its standard input, output and error: files, subprocess.PIPE for text, or subprocess.DEVNULL.
        env: its whole environment; None for this process's.
        cwd: where it runs; None for here.
    """

    def __init__(
        self,
        words: Sequence[object],
        streams: Sequence[Stream],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.args, self.returncode = [str(word) for word in words], None
        request = {"words": self.args, "cwd": str(cwd or Path.cwd()), "env": dict(os.environ if env is None else env)}
        with _ends(streams) as (self._answer, (self.stdin, self.stdout, self.stderr), theirs):
            socket.send_fds(_template(), [json.dumps(request).encode()], theirs)
        self.pid = int(self._answer.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()

    def poll(self) -> int | None:
        """Return the exit code, negative where a signal ended it; None while it runs."""
        if self.returncode is None and wait([self._answer], 0):
            self.returncode = int(self._answer.readline())
            self._answer.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code; raises subprocess.TimeoutExpired."""
        if self.returncode is None and not wait([self._answer], timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.poll()

    def communicate(self, timeout: float | None = None) -> tuple[str | None, str | None]:
        """Wait for the end; return what it printed to pipes, no more than one of which holds."""
        self.wait(timeout)
        with self:
            return tuple(stream and stream.read() for stream in (self.stdout, self.stderr))

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


@contextmanager
def _ends(streams: Sequence[Stream]) -> Iterator[tuple[IO[bytes], list[IO[str] | None], list[int]]]:
    """Yield where the answer is read, our ends of pipes, and the process's descriptors, closed here at the end."""
    reading, writing = os.pipe()
    ours: list[IO[str] | None] = []
    theirs = [writing]
    for stream, mode in zip(streams, MODES, strict=True):
        end = None
        if stream == subprocess.PIPE:
            read, write = os.pipe()
            end = os.fdopen(write if mode == "w" else read, mode)
            theirs.append(read if mode == "w" else write)
        elif stream == subprocess.DEVNULL:
            theirs.append(os.open(os.devnull, os.O_RDWR))
        else:
            theirs.append(os.dup(stream.fileno()))
        ours.append(end)
    try:
        yield os.fdopen(reading, "rb", buffering=0), ours, theirs
    finally:
        for descriptor in theirs:
            os.close(descriptor)


@cache
def _template() -> socket.socket:
    """Start what forks the processes of this one; it ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_BYTES)
    command = [sys.executable, "-W", "ignore", Path(__file__).with_name("forked.py"), str(theirs.fileno())]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)  # earlier than that
    return ours
