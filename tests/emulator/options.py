"""What the emulator is told when it starts."""

import ipaddress
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

LOOPBACK = "127.0.0.1"
LIMIT_BYTES = 262_144
"""Input or output of a state, task or execution: 256 KiB (Step Functions service quotas)."""


@dataclass(frozen=True, slots=True)
class Image:
    """How jobs and functions of a container image run here: as a process."""

    entrypoint: tuple[str, ...] = ()
    """Stands before the command, unless a function names another one; programs are looked for on the PATH of `env`."""
    cwd: str | None = None
    """None: a folder that the job has for itself and that goes with it."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Below the variables of the job definition or function."""
    folders: Mapping[str, str] = field(default_factory=dict)
    """Folder of the image → where that is here: for functions that name their working directory."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the emulator is told when it starts."""

    endpoint: str
    images: Mapping[str, Image]
    """Pattern of an image's name → how it runs, the first that matches. An image that none matches cannot be pulled."""
    gpus: int = 1
    vcpus: int = 2
    """Slots of all compute environments together. A job that wants more gets them all."""
    functions: int = 16
    """Calls of functions that run at once; further ones wait, where AWS would start more machines."""
    function_python: str = sys.executable
    """The Python that functions run on: with awslambdaric and boto3, as Lambda's own."""
    stop_s: float = 2.0
    """Between SIGTERM and SIGKILL of a job that is stopped; 30 s on AWS."""


def from_environment() -> Options:
    """The options that the variables EMULATOR_… and GATEWAY_PORT spell.

    Raises:
        SystemExit: BIND_HOST is no loopback address; the images are not as README.md says.
    """
    refuse_other_hosts(os.environ.get("BIND_HOST", LOOPBACK))
    return Options(
        endpoint=f"http://{LOOPBACK}:{os.environ.get('GATEWAY_PORT', '4566')}",
        images=read_images(os.environ.get("EMULATOR_IMAGES", "{}")),
        gpus=int(os.environ.get("EMULATOR_GPUS", "1")),
        vcpus=int(os.environ.get("EMULATOR_VCPUS", str(os.cpu_count() or 1))),
        functions=int(os.environ.get("EMULATOR_FUNCTIONS", "16")),
        function_python=os.environ.get("EMULATOR_FUNCTION_PYTHON", sys.executable),
        stop_s=float(os.environ.get("EMULATOR_STOP_SECONDS", "2")),
    )


def refuse_other_hosts(host: str) -> None:
    """Nobody else on the network may reach an emulator: it runs any command for anybody.

    Raises:
        SystemExit: the host is no loopback address.
    """
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = host == "localhost"
    if not inside:
        raise SystemExit(f"error: BIND_HOST is {host}, which others can reach; hint: leave it out, or {LOOPBACK}")


def read_images(text: str) -> dict[str, Image]:
    """Read the map of images from JSON.

    Raises:
        SystemExit: it is no JSON object of objects, or an entry has an unknown key.
    """
    try:
        return {pattern: _image(entry) for pattern, entry in json.loads(text).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise SystemExit(
            f"error: EMULATOR_IMAGES is not {{image: {{entrypoint, cwd, env, folders}}}}: {error}"
        ) from error


def find_image(images: Mapping[str, Image], name: str) -> Image | None:
    """How an image runs; None for one that is not there."""
    return next((image for pattern, image in images.items() if fnmatchcase(name, pattern)), None)


def _image(entry: Mapping[str, Any]) -> Image:
    return Image(**{**entry, "entrypoint": tuple(entry.get("entrypoint", ()))})
