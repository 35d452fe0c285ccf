"""A process that has imported what commands take; each command runs in a child of its own, spared the imports.

`python forked.py FD` reads requests from a socket: a JSON object (words, cwd, env) with the descriptors of the answer
and of standard input, output and error. The answer is the child's number and, when it has ended, its exit code, each a
line; the code is negative where a signal ended it.
"""

import gc
import json
import os
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

MOST_BYTES = 1 << 20
HEAVY = (
    "geopandas", "onnx", "pyogrio", "rasterio", "rich.progress", "rich.table", "uvicorn",
    "geodl_core.catalog.api.app", "geodl_core.catalog.open", "geodl_core.cli.job_options", "geodl_core.cli.main",
    "geodl_core.cli.model", "geodl_core.cli.progress", "geodl_core.cli.report", "geodl_core.cli.run",
    "geodl_core.cli.search", "geodl_core.cli.serve", "geodl_core.cli.stages", "geodl_core.cli.worker",
    "geodl_core.engine.estimate_run", "geodl_core.engine.merge_plan", "geodl_core.engine.run_scene",
    "geodl_core.io.remote.access", "geodl_core.service.jobs.read_job",
)  # fmt: skip
"""Not onnxruntime, for a thread of which a child would wait at its end for ever."""


def is_child_of(requests: socket.socket) -> bool:
    """Fork a child for each request: True in the child, which is as was asked; False here, at the end of requests."""
    while True:
        # A read is a request: this kind of socket keeps them apart.
        text, descriptors, _, _ = socket.recv_fds(requests, MOST_BYTES, 4)
        if not text:
            return False
        if not os.fork():
            requests.close()
            become(json.loads(text), *descriptors)
            return True
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                """One of those before has ended."""


def become(request: dict[str, Any], answer: int, *standard: int) -> None:
    """Be a command's process; this one stays its parent, which tells how it ended."""
    child = os.fork()
    if child:
        for descriptor in standard:
            os.close(descriptor)
        with suppress(BrokenPipeError):
            os.write(answer, f"{child}\n".encode())
            os.write(answer, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
        os._exit(0)
    for target, source in enumerate(standard):
        os.dup2(source, target)
    for descriptor in (answer, *standard):
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv[1:] = request["words"]


if __name__ == "__main__":
    sys.path[0], sys.argv[0] = "", "-c"  # as where a program is given in words
    for name in HEAVY:
        import_module(name)
    gc.freeze()
    if is_child_of(socket.socket(fileno=int(sys.argv[1]))):
        from geodl_core.cli.main import main

        main()
