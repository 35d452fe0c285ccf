"""The project's own template on the emulator: built and deployed by SAM, with a PostgreSQL of the test's, and asked as
its users would."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emulator import launch
from geodl_core.domain.run.state import FINAL

ROOT = Path(__file__).parents[1]
VENV = Path(sys.executable).parent
STACK = "geodl"
IMAGE, CPU_IMAGE = "geodl-gpu:e2e", "123456789012.dkr.ecr.us-east-1.amazonaws.com/geodl-cpu:e2e"
SCENES = "scenes-of-others"
TOKEN = "gdl_" + "e2e" * 12
"""With which the tests read runs."""
WAIT_SCALE = 0.2
"""Of the time that Step Functions waits before another try, where things go wrong on purpose."""
BANDS = {"0": "image:1", "1": "image:2"}
"""Which bands of small scenes the network for pixels takes."""


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
    """How jobs and functions of the containers run here: by the program that is tested, on the processor."""
    merges = {"/opt/functions/merge_vector": str(ROOT / "functions" / "merge_vector")}
    image = {
        # The template asks jobs on GPUs for CUDA, and there is none.
        "entrypoint": ["/usr/bin/env", "GEODL_PROVIDER=cpu", str(VENV / "geodl")],
        "env": {"PATH": f"{VENV}:{os.defpath}", **setup},
        "folders": merges,
    }
    return {"geodl-gpu:*": image, "*/geodl-cpu:*": image}


@contextmanager
def deployed(dsn: str, folder: Path, setup: launch.Setup, allowed: str = "", **parameters: str) -> Iterator[Stack]:
    """Deploy the template on an emulator of its own.

    Args:
        dsn: of a database without a schema.
        folder: for what SAM builds, and the emulator's log.
        setup: of the emulator; images are added.
        allowed: host and port that functions and jobs may read besides the emulator's.
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
            "AllowHosts": f"127.0.0.1:{emulator.port}" + (f",{allowed}" if allowed else ""),
            "SceneBuckets": f"arn:aws:s3:::{SCENES}/*",
            "Schedules": "DISABLED",
            **parameters,
        }
        deploy(emulator, build(folder), given)
        (found,) = launch.client(emulator, "cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}
        stack = Stack(emulator, outputs, dsn)
        stack.client("s3").create_bucket(Bucket=SCENES)
        known = [{"name": "e2e", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "scopes": ["read"]}]
        client.put_secret_value(SecretId=outputs["TokensSecret"], SecretString=json.dumps(known))
        yield stack


def build(folder: Path) -> Path:
    """Build layers and functions; return the template that is ready to be deployed."""
    subprocess.run([ROOT / "scripts" / "build-layers"], cwd=ROOT, check=True, capture_output=True)
    place = folder / "build"
    sam("build", "--template-file", ROOT / "template.yaml", "--build-dir", place, "--cache-dir", folder / "cache")
    template = place / "template.yaml"
    # SAM takes a layer's folder, too, and compresses it anew for each deployment.
    text = re.sub(
        r"(?<=ContentUri: )\S*(build/layers/\w+)$",
        lambda found: str(packed(ROOT / found[1])),
        template.read_text(),
        flags=re.MULTILINE,
    )
    template.write_text(text)
    return template


def packed(layer: Path) -> Path:
    """Return a layer as an archive, made once for all tests that run now or later."""
    digest = layer.with_name(f"{layer.name}.sha256").read_text().split()[0]
    archive = layer.with_name(f"{layer.name}-{digest[:16]}.zip")
    if not archive.exists():
        for old in layer.parent.glob(f"{layer.name}-*.zip"):
            old.unlink(missing_ok=True)
        begun = archive.with_name(f".{archive.stem}-{os.getpid()}")
        shutil.make_archive(str(begun), "zip", layer)
        begun.with_name(f"{begun.name}.zip").replace(archive)
    return archive


def deploy(emulator: launch.Emulator, template: Path, parameters: Mapping[str, str]) -> None:
    """Deploy a built template, as `sam deploy` does."""
    given = [f"{name}={value}" for name, value in parameters.items()]
    options = (
        "--stack-name",
        STACK,
        "--resolve-s3",
        "--image-repository",
        CPU_IMAGE.partition(":")[0],
        "--no-confirm-changeset",
        "--no-progressbar",
    )
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
        [str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**base, **(environment or {})},
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


@dataclass(frozen=True, slots=True)
class Answer:
    """Of an HTTP API."""

    status: int
    document: Any


def ask(stack: Stack, api: str, path: str, method: str = "GET", body: Any = None, token: str = "") -> Answer:
    """Ask an HTTP API of the stack, `StacApi` or `RunsApi`, as its address is here."""
    name = stack.outputs[api].removeprefix("https://").partition(".")[0]
    address = f"{stack.emulator.endpoint}/_aws/execute-api/{name}/$default{path}"
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, data=data, headers=headers, method=method), timeout=60
        ) as answer:
            return Answer(answer.status, json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, json.loads(error.read() or b"null"))


def upload_scene(stack: Stack, item_path: Path, item_id: str, collection: str = "scenes") -> dict[str, Any]:
    """Bring a scene's files to a bucket of others; return its Item as those would publish it."""
    item = json.loads(item_path.read_text())
    for asset in item["assets"].values():
        path = item_path.parent / asset["href"]
        key = f"{item_id}/{path.name}"
        stack.client("s3").upload_file(str(path), SCENES, key)
        asset["href"] = f"s3://{SCENES}/{key}"
    return {**item, "id": item_id, "collection": collection, "links": []}


def add_watch(stack: Stack, folder: Path, name: str, model: str = "fields", **more: Any) -> None:
    """Have a watch look at scenes of the collection `meadows`, or as more says."""
    path = folder / f"watch-{name}.json"
    watch = {"name": name, "model": model, "collections": ["meadows"], "options": {"bands": BANDS}, **more}
    path.write_text(json.dumps(watch))
    geodl(stack, "watch", "add", path)


def publish(stack: Stack, message: Any) -> None:
    """Publish to the topic of Items; text as it is, all else as JSON."""
    text = message if isinstance(message, str) else json.dumps(message)
    stack.client("sns").publish(TopicArn=stack.outputs["ItemsTopic"], Message=text)


def publish_many(stack: Stack, items: list[dict[str, Any]]) -> None:
    """Publish Items to the topic as fast as it takes them, ten a request."""
    sns = stack.client("sns")
    for start in range(0, len(items), 10):
        entries = [{"Id": str(n), "Message": json.dumps(item)} for n, item in enumerate(items[start : start + 10])]
        assert not sns.publish_batch(TopicArn=stack.outputs["ItemsTopic"], PublishBatchRequestEntries=entries)["Failed"]


def geodl(stack: Stack, *arguments: str | Path, expects: int = 0) -> str:
    """Run the command line against the stack, as a user would; return what it writes."""
    done = subprocess.run(
        [str(VENV / "geodl"), *map(str, arguments)], capture_output=True, text=True, check=False, env=stack.environment
    )
    assert done.returncode == expects, done.stdout + done.stderr
    return done.stdout + done.stderr


def executions(stack: Stack, machine: str = "SceneMachine") -> list[dict[str, Any]]:
    """All executions of a state machine, newest first."""
    found = stack.client("stepfunctions").list_executions(stateMachineArn=stack.outputs[machine], maxResults=1000)
    return [one for one in found["executions"] if ":mapRun:" not in one["executionArn"]]


def runs(stack: Stack, watch: str | None = None) -> list[dict[str, Any]]:
    """All runs of the ledger, or of a watch, as the API tells them."""
    more = f"&watch={watch}" if watch else ""
    found: list[dict[str, Any]] = ask(stack, "RunsApi", f"/runs?limit=1000{more}", token=TOKEN).document["runs"]
    return found


def ended(stack: Stack, watch: str, count: int = 1, within_s: float = 120.0) -> list[dict[str, Any]]:
    """The runs of a watch once so many have ended; fails when they do not in time."""

    def all_ended() -> list[dict[str, Any]] | None:
        found = runs(stack, watch)
        return found if len([run for run in found if run["state"] in FINAL]) >= count else None

    return eventually(all_ended, within_s, lambda: f"runs of {watch}: {runs(stack, watch)}")


def eventually(check: Callable[[], Any], within_s: float = 60.0, told: Callable[[], str] = lambda: "") -> Any:
    """The first true value of a check, asked for again and again."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = check()
        if found:
            return found
        time.sleep(0.25)
    raise AssertionError(f"nothing within {within_s:g} s: {told()}")


def result_files(stack: Stack, result: Mapping[str, str]) -> dict[str, bytes]:
    """The data files of a result, by name: all but documents that tell when and where."""
    s3, bucket = stack.client("s3"), stack.outputs["Bucket"]
    prefix = f"results/{result['collection']}/{result['id']}/"
    found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    names = [one["Key"].removeprefix(prefix) for one in found]
    return {
        name: s3.get_object(Bucket=bucket, Key=prefix + name)["Body"].read() for name in names if not is_document(name)
    }


def local_files(stack: Stack, item: Mapping[str, Any], emd: Path, folder: Path, *options: str) -> dict[str, bytes]:
    """What `geodl run` makes of the same Item on one machine: its data files, by name."""
    folder.mkdir(parents=True)
    path = folder / "item.json"
    path.write_text(json.dumps(item))
    geodl(stack, "run", path, "--model", emd, "--out", folder / "out", "--catalog", folder / "catalog.db", *options)
    (place,) = (one for one in (folder / "out").glob("*/*") if one.is_dir())
    return {one.name: one.read_bytes() for one in place.iterdir() if not is_document(one.name)}


def is_document(name: str) -> bool:
    """Whether a file of a result tells when and where, and may differ."""
    return name.endswith(".json")
