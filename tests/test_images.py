"""The container images, by their description: nothing is built, since there is no Docker where these tests run."""

import re
import shlex
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

import layers

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "infra" / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
TARGETS = ("cpu", "gpu")


@dataclass(frozen=True, slots=True)
class Stage:
    """What stands between two FROM."""

    name: str
    base: str
    lines: tuple[tuple[str, str], ...]
    """Instruction and its arguments; continued lines are one, comments are none."""


def read_stages():
    """Return the stages of the Dockerfile by name, in order."""
    text = "\n".join(line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#"))
    lines = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
    found = {}
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest).groups()
            found[name] = Stage(name, base, ())
        else:
            last = found[name]
            found[name] = Stage(name, last.base, (*last.lines, (word, rest.strip())))
    return found


STAGES = read_stages()


def history(name):
    """Return all instructions that a stage is made by, those of the stages that it stands on among them."""
    stage = STAGES[name]
    return (history(stage.base) if stage.base in STAGES else ()) + stage.lines


def last(name, word):
    """Return the arguments of the last instruction of a kind."""
    return [rest for found, rest in history(name) if found == word][-1]


def environment(name):
    """Return the variables of a stage."""
    words = [word for found, rest in history(name) if found == "ENV" for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


def copies(name):
    """Return (stage or image that it is from, None for this folder; sources; destination) of each COPY."""
    for found, rest in history(name):
        if found == "COPY":
            source = re.match(r"--from=(\S+) ", rest)
            *sources, target = rest[source.end() if source else 0 :].split()
            yield source and source[1], sources, target


def syncs(name):
    """Return the command lines of `uv sync` of a stage."""
    return [shlex.split(rest) for found, rest in history(name) if found == "RUN" and rest.startswith("uv sync")]


def extras(command):
    """Return the extras that a `uv sync` installs."""
    return {word for before, word in pairwise(command) if before == "--extra"}


def builder(target):
    """Return the stage that a target's environment comes from."""
    (found,) = {source for source, _, place in copies(target) if place == "/opt/geodl"}
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_copied_is_there(target):
    """Every source of a COPY exists, and is not left out of what Docker is sent."""
    kept = (ROOT / "infra" / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in kept
    for name in (target, builder(target)):
        for source, files, place in copies(name):
            assert place.startswith(("/", "./"))
            if source is None:
                assert all((ROOT / file).exists() and f"!{file}" in kept for file in files)
            else:
                assert source in STAGES or re.fullmatch(r"\S+:[\w.-]+", source)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_floats(target):
    """Images are named with a version, and libraries installed as the lock file has them."""
    for name in (target, builder(target)):
        base = STAGES[name].base
        while base in STAGES:
            base = STAGES[base].base
        assert re.fullmatch(rf"python:{re.escape(layers.read_table().python)}-slim-\w+", base)
    assert not re.search(r":latest\b", DOCKERFILE)
    for command in syncs(builder(target)):
        assert {"--locked", "--no-dev"} <= set(command)
        assert "--no-editable" in command or "--no-install-project" in command


@pytest.mark.parametrize("target", TARGETS)
def test_extras_are_the_project_s(target):
    """Each target has one runtime, its own, what PostgreSQL and AWS need, and installs the same twice."""
    first, second = map(extras, syncs(builder(target)))
    assert first == second
    assert first <= PROJECT["optional-dependencies"].keys()
    assert first & {"cpu", "gpu", "openvino"} == {target}
    assert {"pgstac", "aws"} <= first
    assert ("lambda" in first) == (target == "cpu")


def test_cuda_comes_with_the_gpu():
    """What the GPU target installs has CUDA's and cuDNN's libraries, of the version that onnxruntime is built for."""
    packages = {package["name"]: package for package in LOCK["package"]}
    wanted = packages["geodl"]["optional-dependencies"]["gpu"]
    (runtime,) = [entry for entry in wanted if entry["name"] == "onnxruntime-gpu"]
    more = packages["onnxruntime-gpu"]["optional-dependencies"]
    names = {entry["name"] for extra in runtime["extra"] for entry in more[extra]}
    assert any(fnmatchcase(name, "nvidia-cudnn*") for name in names)
    assert any(fnmatchcase(name, "nvidia-cuda-runtime*") for name in names)
    assert names <= packages.keys()


@pytest.mark.parametrize("target", TARGETS)
def test_the_entry_point_is_installed(target):
    """The image runs geodl, which the project installs into a folder on its path; without a command it shows help."""
    (program,) = yaml.safe_load(last(target, "ENTRYPOINT"))
    assert program in PROJECT["scripts"]
    assert environment(target)["PATH"].startswith("/opt/geodl/bin:")
    assert yaml.safe_load(last(target, "CMD")) == ["--help"]


@pytest.mark.parametrize("target", TARGETS)
def test_little_may_be_written(target):
    """It runs as a numbered user, and what it writes by default lies in volumes, so that the root may be read-only."""
    assert last(target, "USER") == "10001:10001"
    volumes = yaml.safe_load(last(target, "VOLUME"))
    assert volumes == ["/data", "/tmp"]
    variables = environment(target)
    for name in ("HOME", "GEODL_OUT", "GEODL_CACHE"):
        assert variables[name].startswith("/data")
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    after = [found for found, _ in STAGES[target].lines]
    assert "RUN" not in after
    assert "USER" not in after


def test_the_image_is_a_function_too():
    """The CPU image holds Lambda's client, and a handler in the folder that the template names."""
    template = (ROOT / "template.yaml").read_text()
    (folder,) = re.findall(r"^ +WorkingDirectory: (\S+)$", template, re.MULTILINE)
    assert (folder, ["functions/merge_vector"]) in [(place, files) for _, files, place in copies("cpu")]
    assert "EntryPoint: [python, -m, awslambdaric]" in template
    assert "Command: [app.handler]" in template
    assert re.search(r"^def handler\(", (ROOT / "functions" / "merge_vector" / "app.py").read_text(), re.MULTILINE)
    wanted = PROJECT["optional-dependencies"]["lambda"]
    assert [re.match(r"[\w-]+", one)[0] for one in wanted] == ["awslambdaric"]


def test_the_composition_builds_a_target():
    """What compose.yaml builds is a target; the last one, which is built where none is named, is the CPU's."""
    assert yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["api"]["build"]["target"] in TARGETS
    assert list(STAGES)[-1] == "cpu"
