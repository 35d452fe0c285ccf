"""The entry point of a job's container, in tests: stands in the place of the program `geodl`, and has a child of
`containers.py` do the work. It ends as that child does; a signal to it is one to the child, and its own death too.

    python container.py SOCKET WORDS…
"""

import json
import os
import signal
import socket
import sys


def stand_in(place: str, words: list[str]) -> None:
    """Have the words run, and end as they end."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(place)
        cwd = os.getcwd()  # noqa: PTH109  # pathlib takes longer to import than all of this
        asked = json.dumps({"words": words, "cwd": cwd, "env": dict(os.environ)}).encode()
        # A message of unknown length: its own goes before it.
        socket.send_fds(line, [len(asked).to_bytes(4, "big")], [1, 2])
        line.sendall(asked)
        told = line.makefile("r")
        child = int(told.readline())
        signal.signal(signal.SIGTERM, lambda number, _: os.kill(child, number))
        code = int(told.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    sys.exit(code)


stand_in(sys.argv[1], sys.argv[2:])
