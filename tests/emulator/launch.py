"""Start and stop the emulator, for tests and scripts: a free port of the loopback, a clean environment, a folder of its
own that goes with it. Needs the standard library only (and boto3 for `client`).
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
PLACE = Path(os.environ.get("GEODL_AWS") or TESTS.parent / ".tools" / "aws")
"""Where the environments are that `setup` makes."""
REGION = "us-east-1"
START_S, STOP_S = 60.0, 15.0


@dataclass(frozen=True, slots=True)
class Setup:
    """How an emulator is to run."""

    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Pattern of a container image's name → entrypoint, cwd, env, folders: how its jobs and functions run."""
    gpus: int = 1
    vcpus: int = 2
    functions: int = 16
    """Calls of functions that run at once; further ones wait."""
    auth: bool = False
    """Whether IAM decides, as on AWS, or everybody may do everything."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """All that the emulator gets of the caller's environment, or beside it."""
    log: Path | None = None
    """Where its output stays. None: it is kept, in the folder for temporary files, only when something fails."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """One that runs."""

    port: int
    pid: int
    log: Path

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What points the ordinary tools (aws, sam, boto3) at it."""
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION, **keys}


def state() -> bool | str:
    """True, or why this machine cannot run the emulator."""
    missing = [name for name in ("emulator", "runtime") if not python(name).exists()]
    return not missing or f"there is no {python(missing[0])} (tests/emulator/setup makes it)"


def python(name: str) -> Path:
    """The Python of one of the environments that `setup` makes."""
    return PLACE / name / "bin" / "python"


def client(emulator: Emulator, service: str, **more: Any) -> Any:
    """A boto3 client of a service, as the account's root unless keys are among the arguments."""
    import boto3  # noqa: PLC0415  # not there where nothing of AWS is
    from botocore.config import Config  # noqa: PLC0415

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}
    config = Config(read_timeout=120, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(service, **{"endpoint_url": emulator.endpoint, "config": config, **keys, **more})


@contextmanager
def running(setup: Setup) -> Iterator[Emulator]:
    """An emulator that answers; gone at the end, with all processes that it started.

    Raises:
        RuntimeError: it ended before it answered, or did not answer in time; the message holds the end of its log.
    """
    home = Path(tempfile.mkdtemp(prefix="geodl-emulator-"))
    log = setup.log or home.with_suffix(".log")
    done = False
    try:
        emulator, process = _started(setup, home, log)
        try:
            yield emulator
            done = True
        finally:
            _stop(process)
    except BaseException as error:
        error.add_note(f"the emulator's log is {log}")
        raise
    finally:
        shutil.rmtree(home, ignore_errors=True)
        if done and setup.log is None:
            log.unlink(missing_ok=True)


def health(emulator: Emulator) -> dict[str, Any]:
    """What the emulator says of itself.

    Raises:
        OSError: it does not answer.
    """
    with urllib.request.urlopen(f"{emulator.endpoint}/_ministack/health", timeout=5) as answer:
        return json.loads(answer.read())


def resident_bytes(emulator: Emulator) -> int:
    """The memory that the emulator's own process holds, without functions and jobs (Linux)."""
    fields = Path(f"/proc/{emulator.pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _started(setup: Setup, home: Path, log: Path) -> tuple[Emulator, subprocess.Popen[bytes]]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python("emulator"), "-m", "emulator"],
            cwd=TESTS,
            env=_environment(setup, home, port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    emulator = Emulator(port, process.pid, log)
    try:
        _await(emulator, process)
    except BaseException:
        _stop(process)
        raise
    return emulator, process


def _environment(setup: Setup, home: Path, port: int) -> dict[str, str]:
    for name in ("state", "s3", "tmp"):
        (home / name).mkdir()
    # Bytecode is kept where the tests keep theirs; functions and jobs do not inherit this.
    bytecode = {"PYTHONPYCACHEPREFIX": sys.pycache_prefix} if sys.pycache_prefix else {}
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        **bytecode,
        **setup.environment,
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "STATE_DIR": str(home / "state"),
        "S3_DATA_DIR": str(home / "s3"),
        "GATEWAY_PORT": str(port),
        "AUTH": str(setup.auth).lower(),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "EMULATOR_IMAGES": json.dumps(setup.images, default=dict),
        "EMULATOR_GPUS": str(setup.gpus),
        "EMULATOR_VCPUS": str(setup.vcpus),
        "EMULATOR_FUNCTIONS": str(setup.functions),
        "EMULATOR_FUNCTION_PYTHON": str(python("runtime")),
    }


def _await(emulator: Emulator, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        code = process.poll()
        if code is not None:
            raise RuntimeError(f"the emulator ended with {code} before it answered:\n{_tail(emulator.log)}")
        with suppress(OSError, urllib.error.URLError):
            health(emulator)
            return
        time.sleep(0.05)
    raise RuntimeError(f"the emulator did not answer within {START_S:g} s:\n{_tail(emulator.log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the emulator, by its number, then what is left of its session: functions and jobs."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for left in _session(process.pid):
        with suppress(ProcessLookupError):
            os.kill(left, signal.SIGKILL)


def _session(leader: int) -> list[int]:
    """The processes of a session (Linux; elsewhere the emulator itself ends what it started)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # Fields after the name, which may hold anything: state, parent, group, session.
            if int(stat.read_text().rsplit(")", 1)[1].split()[3]) == leader:
                found.append(int(stat.parent.name))
    return found
