"""The project's own template on the emulator: built and deployed by SAM, with a PostgreSQL of the test's, and asked as
its users would."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emulator import launch

ROOT = Path(__file__).parents[1]
VENV = Path(sys.executable).parent
STACK = "geodl"
IMAGE, CPU_IMAGE = "geodl-gpu:e2e", "123456789012.dkr.ecr.us-east-1.amazonaws.com/geodl-cpu:e2e"
SCENES = "scenes-of-others"
TOKEN = "gdl_" + "e2e" * 12


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployment that runs."""

    emulator: launch.Emulator
    outputs: Mapping[str, str]
    dsn: str
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A client as the account's root."""
        if service not in self._clients:
            self._clients[service] = launch.client(self.emulator, service)
        return self._clients[service]

    @property
    def environment(self) -> dict[str, str]:
        """For commands that are to talk to it."""
        return {**os.environ, **self.emulator.environment, "GEODL_STACK": STACK}


def images(setup: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """How jobs and functions of the containers run here: by the program that is tested."""
    shared = {"PATH": f"{VENV}:{os.defpath}", **setup}
    return {pattern: {"entrypoint": [str(VENV / "geodl")], "env": shared} for pattern in ("geodl-gpu:*", "*/geodl-cpu:*")}


@contextmanager
def deployed(dsn: str, folder: Path, setup: launch.Setup, **parameters: str) -> Iterator[Stack]:
    """Deploy the template on an emulator of its own.

    Args:
        dsn: of a database without a schema.
        folder: for what SAM builds, and the emulator's log.
        setup: of the emulator; images are added.
        parameters: of the template.
    """
    setup = replace(setup, images={**images({}), **setup.images}, log=folder / "emulator.log")
    with launch.running(setup) as emulator:
        client = launch.client(emulator, "secretsmanager")
        secret = client.create_secret(Name="catalog", SecretString=dsn)["ARN"]
        # The loopback is where everything is here, scenes too.
        given = {
            "CpuImage": CPU_IMAGE,
            "Image": IMAGE,
            "CatalogDsnSecret": secret,
            "AllowHosts": f"127.0.0.1:{emulator.port}",
            "SceneBuckets": f"arn:aws:s3:::{SCENES}/*",
            "Schedules": "DISABLED",
            **parameters,
        }
        deploy(emulator, build(folder), given)
        (found,) = launch.client(emulator, "cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}
        stack = Stack(emulator, outputs, dsn)
        stack.client("s3").create_bucket(Bucket=SCENES)
        yield stack


def build(folder: Path) -> Path:
    """Build layers and functions; return the template that is ready to be deployed."""
    subprocess.run([ROOT / "scripts" / "build-layers"], cwd=ROOT, check=True, capture_output=True)
    place = folder / "build"
    sam("build", "--template-file", ROOT / "template.yaml", "--build-dir", place, "--cache-dir", folder / "cache")
    return place / "template.yaml"


def deploy(emulator: launch.Emulator, template: Path, parameters: Mapping[str, str]) -> None:
    """Deploy a built template, as `sam deploy` does."""
    given = [f"{name}={value}" for name, value in parameters.items()]
    options = ("--stack-name", STACK, "--resolve-s3", "--image-repository", CPU_IMAGE.partition(":")[0], "--no-confirm-changeset", "--no-progressbar")
    capabilities = ("--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "CAPABILITY_NAMED_IAM")
    sam("deploy", "--template-file", template, *options, *capabilities, "--parameter-overrides", *given,
        environment=emulator.environment)  # fmt: skip


def sam(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Run SAM's own command line; return what it says."""
    program = launch.PLACE / "deploy" / "bin" / "sam"
    # Its home is its own: it keeps its settings there.
    base = {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8",
            "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": launch.REGION}  # fmt: skip
    done = subprocess.run(
        [str(program), *map(str, arguments)], capture_output=True, text=True, check=False, env={**base, **(environment or {})}
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout
