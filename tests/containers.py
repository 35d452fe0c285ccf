"""Containers of jobs, for tests: `geodl` in children of a process that has imported it, so that each is there at once;
and hurt where a test says so.

A fault is a file in a folder, named after the scene that it hurts: how each attempt of a job is to end, by the job's
command. `{"shard": [{"wait_s": 60}, {"exit": 75, "says": "…"}, {"kill": 9}]}` makes a shard's first attempt wait before
it begins, the second end with that code before it begins, and the third be killed when it has done all its work.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TESTS = Path(__file__).parent
ALL = "all"
"""Scenes that have no file of their own."""
FAULTS = "CONTAINER_FAULTS"
HEAVY = (
    "boto3", "onnx", "pyogrio", "rasterio", "rich.progress", "geodl_core.cli.job_options",
    "geodl_core.cli.main", "geodl_core.cli.progress", "geodl_core.cli.run", "geodl_core.cli.stages",
    "geodl_core.engine.merge_plan", "geodl_core.engine.run_tasks", "geodl_core.engine.run_scene",
    "geodl_core.io.remote.access", "geodl_core.io.remote.egress", "geodl_core.io.remote.http",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Containers:
    """Those that run."""

    place: Path
    faults: Path

    def image(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """How an image runs so, for the emulator; its entry point ends with the program `geodl` as it is known."""
        *before, _ = known["entrypoint"]
        instead = [sys.executable, "-I", "-S", "-B", str(TESTS / "container.py"), str(self.place)]
        return {**known, "entrypoint": [*before, *instead], "env": {**known["env"], FAULTS: str(self.faults)}}

    def hurt(self, scene: str, **attempts: Sequence[Mapping[str, Any]]) -> None:
        """Say how the attempts of a scene's jobs end, by the job's command; attempts beyond those are left alone."""
        (self.faults / f"{scene}.json").write_text(json.dumps(attempts))

    def heal(self) -> None:
        """Leave all jobs alone from now on."""
        for path in self.faults.iterdir():
            path.unlink()


@contextmanager
def running(folder: Path) -> Iterator[Containers]:
    """What makes containers, gone at the end with all of them."""
    found = Containers(folder / "containers", folder / "faults")
    found.faults.mkdir()
    process = subprocess.Popen([sys.executable, __file__, str(found.place)], stdin=subprocess.PIPE)
    try:
        while not found.place.exists():
            assert process.poll() is None
            time.sleep(0.02)
        yield found
    finally:
        # The end of its input is its own: nothing has to be stopped where the tests were killed.
        process.stdin.close()
        process.wait()


def _serve(place: str) -> None:
    """Fork for each request; returns in children, whose environment and output are as asked."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(256)
    for name in HEAVY:
        import_module(name)
    gc.freeze()
    gate = select.poll()
    for source in (listener, sys.stdin):
        gate.register(source, select.POLLIN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        if sys.stdin.fileno() in dict(gate.poll()):
            os._exit(0)
        line, _ = listener.accept()
        if not os.fork():
            listener.close()
            _attend(line)
            return
        line.close()


def _attend(line: socket.socket) -> None:
    """Return in a child that does what was asked; its parent, this process, tells how that ends, and never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, outputs, _, _ = socket.recv_fds(line, 4, 2)
    asked = json.loads(line.makefile("rb").read(int.from_bytes(length, "big")))
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        for source, target in zip(outputs, (1, 2), strict=True):
            os.dup2(source, target)
            os.close(source)
        line.close()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.argv[1:] = asked["words"]
        return
    for descriptor in outputs:
        os.close(descriptor)
    line.sendall(f"{child}\n".encode())
    ends = select.poll()
    handle = os.pidfd_open(child)
    ends.register(handle, select.POLLIN)
    ends.register(line, select.POLLIN | select.POLLHUP)
    if handle not in dict(ends.poll()):
        os.killpg(child, signal.SIGKILL)  # the container is gone
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        line.sendall(f"{code}\n".encode())
    finally:
        os._exit(0)


def _run() -> None:
    """Run `geodl`, as an attempt of a job, with the fault that is meant for it."""
    fault = _fault(Path(os.environ.pop(FAULTS)))
    if "wait_s" in fault:
        time.sleep(fault["wait_s"])
    if "exit" in fault:
        sys.stderr.write(fault.get("says", ""))
        sys.stderr.flush()
        os._exit(fault["exit"])
    from geodl_core.cli.main import main  # noqa: PLC0415  # tests that only use this module do not pay for it

    try:
        main()
    finally:
        sys.stdout.flush()
        if "kill" in fault:
            os.kill(os.getpid(), fault["kill"])


def _fault(folder: Path) -> Mapping[str, Any]:
    if not any(folder.iterdir()):
        return {}
    command, plan = sys.argv[1:3]
    paths = (folder / f"{_scene(plan)}.json", folder / f"{ALL}.json")
    path = next((one for one in paths if one.exists()), None)
    attempts = json.loads(path.read_text()) if path else {}
    number = int(os.environ["AWS_BATCH_JOB_ATTEMPT"])
    chosen = attempts.get(command, [])
    return chosen[number - 1] if number <= len(chosen) else {}


def _scene(plan: str) -> str:
    """The name of a plan's scene."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    where = urlsplit(plan)
    s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
    document = json.loads(s3.get_object(Bucket=where.netloc, Key=where.path[1:])["Body"].read())
    return str(document["source"]["id"])


if __name__ == "__main__":
    _serve(sys.argv[1])
    _run()
