"""`geodl deploy` before anything is executed: checks, build, plan; `sam` is a script that writes down its calls."""

import json
from pathlib import Path

import pytest

from checkouts import TEMPLATE, make_checkout
from cloud import client
from commands import geodl_here
from geodl_core.aws.deploy.deploy import choose_parameters
from geodl_core.aws.deploy.source import Source

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/geodl"
LAYER = {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 1, "digest": f"sha256:{'0' * 64}"}
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1, "digest": LAYER["digest"]},
    "layers": [LAYER],
}


@pytest.fixture
def checkout(cloud, tmp_path, monkeypatch):
    """A checkout in whose folder the test is, with its `sam` on PATH and a stack name of its own."""
    made = make_checkout(tmp_path, cloud.table.replace("geodl", "deployed"))
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(made.folder)
    return made


def first_error(done):
    return next(line for line in done.stderr.splitlines() if line.startswith("error: "))


def value_after(words, option):
    """What follows an option, up to the next one."""
    found = []
    for word in words[words.index(option) + 1 :]:
        if word.startswith("--"):
            break
        found.append(word)
    return found


def test_parameters_and_tags_reach_sam_letter_for_letter(checkout):
    """Values with blanks, commas and quotation marks arrive quoted; concurrency follows from the machines."""
    words = ["--parameter", 'Image=a "b", c', "--parameter", "MaxGpuVcpus=256", "--tag", "team=sea ice"]
    done = geodl_here("deploy", "--cpu-image", "geodl:cpu", *words, "--plan")
    assert done.returncode == 0, done.stderr
    deploy = checkout.calls()[1]
    assert value_after(deploy, "--parameter-overrides") == [
        'Image="a \\"b\\", c"',
        'MaxGpuVcpus="256"',
        'CpuImage="geodl:cpu"',
        'BackfillConcurrency="128"',
    ]
    assert value_after(deploy, "--tags") == ['team="sea ice"', f'geodl:stack="{checkout.name}"']


def test_a_machine_s_price_follows_from_what_it_is():
    """A new stack has its machines' price, one that gets others theirs; what is given, or nobody knows, stays."""
    defaults = {"CpuImage": None, "Image": "", "ShardCompute": "gpu-ec2", "GpuInstanceTypes": "g6.xlarge,g5.xlarge"}
    source = Source(Path(), {**defaults, "GpuHourUsd": "1"})
    image, fargate = {"CpuImage": "a", "Image": "b"}, {"ShardCompute": "fargate"}
    before = {"Parameters": [{"ParameterKey": "Image", "ParameterValue": "b"},
                             {"ParameterKey": "CpuImage", "ParameterValue": "a"},
                             {"ParameterKey": "ShardCompute", "ParameterValue": "gpu-managed-instances"}]}  # fmt: skip
    for given, told, price in (
        (image, None, "0.3622"),
        (image | fargate, None, "0.0699"),
        (image | {"GpuInstanceTypes": "p9.xlarge"}, None, None),
        (image | {"GpuHourUsd": "2"}, None, "2"),
        ({}, before, None),
        ({"GpuInstanceTypes": "g5.xlarge"}, before, "1.0060"),
        (fargate, before, "0.0699"),
    ):
        assert choose_parameters(source, given, told).get("GpuHourUsd") == price, given


def test_a_plan_changes_nothing(checkout):
    """--plan shows what is new, and leaves no stack and no change set behind."""
    done = geodl_here("deploy", "--cpu-image", "geodl:cpu", "--plan")
    assert done.returncode == 0, done.stderr
    assert [line.rstrip() for line in done.stdout.splitlines()] == [
        f"plan for stack {checkout.name}, which is new:",
        "+  Table   DynamoDB::Table",
        "+  Bucket  S3::Bucket",
        "+  Topic   SNS::Topic",
        "3 to add, 0 to modify, 0 to replace, 0 to remove",
        "nothing was changed",
    ]
    assert "account  123456789012, us-east-1, as arn:aws" in done.stderr
    assert "whether geodl:cpu is there cannot be told" in done.stderr
    build, deploy = checkout.calls()
    assert build[:3] == ["build", "--template-file", str(checkout.folder / "template.yaml")]
    assert "--no-execute-changeset" in deploy
    assert value_after(deploy, "--stack-name") == [checkout.name]
    names = [stack["StackName"] for stack in client("cloudformation").list_stacks()["StackSummaries"]
             if stack["StackStatus"] != "DELETE_COMPLETE"]  # fmt: skip
    assert checkout.name not in names


def test_a_changed_tree_is_refused_by_name(checkout):
    """What is not committed is not deployed unless that is said, and is named; ignored files do not count."""
    (checkout.folder / "build").mkdir()
    (checkout.folder / "build" / "x").write_text("")
    (checkout.folder / "new file.py").write_text("")
    (checkout.folder / "template.yaml").write_text(TEMPLATE + "\n")
    done = geodl_here("deploy", "--cpu-image", "geodl:cpu", "--plan")
    assert done.returncode == 2
    assert first_error(done).endswith("found changes in template.yaml, new file.py")
    assert checkout.calls() == []
    assert geodl_here("deploy", "--cpu-image", "geodl:cpu", "--plan", "--allow-dirty").returncode == 0


def test_a_folder_within_the_checkout_is_enough(checkout, monkeypatch):
    """The template is found upwards from the current folder; --source names another checkout, exactly."""
    below = checkout.folder / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert geodl_here("deploy", "--cpu-image", "geodl:cpu", "--plan").returncode == 0
    done = geodl_here("deploy", "--source", below, "--plan")
    assert "expected a checkout of geodl with its template.yaml" in first_error(done)


def test_missing_things_are_named_before_anything_is_built(checkout, monkeypatch):
    """sam, parameters, models and images that are missing are told at once."""
    image = ["--cpu-image", "geodl:cpu"]
    assert "parameter CpuImage: a new stack needs it" in first_error(geodl_here("deploy"))
    unknown = geodl_here("deploy", *image, "--parameter", "MaxGpuVcpu=3")
    assert first_error(unknown).endswith("has none of this name; MaxGpuVcpus?")
    assert first_error(geodl_here("deploy", *image, "--parameter", "Zzz=3")).endswith("has none of this name")
    assert "BackfillConcurrency, CatalogDsnSecret, CatalogUrl, CpuImage, Image, MaxGpuVcpus" in unknown.stderr
    for words, text in (
        (["--parameter", "CpuImage=x", *image], "--cpu-image says the same"),
        (["--parameter", "x"], "expected KEY=VALUE"),
        (["--parameter", "Image=a", "--parameter", "Image=b"], "it is given twice"),
        (["--parameter", "Image=a\\b", *image, "--no-build"], "nothing"),
        (["--catalog-url", "https://a", "--catalog-secret", "b", *image], "exclude one another"),
        ([*image, "--model", "nosuch.emd"], "there is no such file"),
        (["--with-data"], "it is for --remove alone"),
        (["--tag", "geodl:stack=another", *image], "the stack's name, found another"),
    ):
        assert text in first_error(geodl_here("deploy", *words)), words
    assert checkout.calls() == []
    checkout.remove_sam()
    assert "expected the program sam" in first_error(geodl_here("deploy", *image))


def test_an_image_that_is_not_in_ecr_is_refused(checkout):
    """A repository or tag that is not there is told before the build; one that is there is taken."""
    ecr = client("ecr")
    done = geodl_here("deploy", "--cpu-image", f"{IMAGE}-{checkout.name}:cpu")
    assert f"CpuImage {IMAGE}-{checkout.name}:cpu: there is no such repository in ECR" in first_error(done)
    ecr.create_repository(repositoryName=f"geodl-{checkout.name}")
    done = geodl_here("deploy", "--cpu-image", f"{IMAGE}-{checkout.name}:cpu")
    assert "there is no such image in ECR" in first_error(done)
    ecr.put_image(repositoryName=f"geodl-{checkout.name}", imageManifest=json.dumps(MANIFEST), imageTag="cpu")
    assert geodl_here("deploy", "--cpu-image", f"{IMAGE}-{checkout.name}:cpu", "--plan").returncode == 0


def test_machines_with_gpus_need_their_container(checkout):
    """A deployment with GPUs is refused without the container of shards before anything is built."""
    with_gpus = TEMPLATE.replace("Parameters:", "Parameters:\n  ShardCompute: {Type: String, Default: gpu-ec2}")
    (checkout.folder / "template.yaml").write_text(with_gpus)
    words = ["deploy", "--cpu-image", "geodl:cpu", "--plan", "--allow-dirty"]
    assert first_error(geodl_here(*words)).startswith("error: parameter Image: ShardCompute=gpu-ec2 needs")
    assert checkout.calls() == []
    assert geodl_here(*words, "--image", "geodl:gpu").returncode == 0
    assert geodl_here(*words, "--parameter", "ShardCompute=fargate").returncode == 0


def test_what_cloudformation_refuses_is_told_once(checkout, monkeypatch):
    """Its reason is the error; what sam was asked is not told again."""
    words = ["deploy", "--cpu-image", "geodl:cpu"]
    assert geodl_here(*words, "--plan").returncode == 0
    reason = "Parameter 'MaxGpuVcpus' must be a number not less than 4"
    wrapping = "An error occurred (ValidationError) when calling the CreateChangeSet operation:"
    said = f"Deploying with following values\nError: Failed to create changeset for the stack: x, {wrapping} {reason}"
    monkeypatch.setenv("FAKE_SAM_SAYS", said)
    monkeypatch.setenv("FAKE_SAM_CODE", "1")
    done = geodl_here(*words, "--no-build")
    assert (done.returncode, first_error(done)) == (2, f"error: sam deploy: {reason}")
    assert "following values" not in done.stderr


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Building\nError: PythonPipBuilder:Validation - no python3.13", "PythonPipBuilder:Validation - no python3.13"),
        (
            "Error: Failed to create changeset, ex: Waiter failed. Reason: Rule GpusNeedTheirImage",
            "Rule GpusNeedTheirImage",
        ),
    ],
)
def test_what_sam_says_is_the_reason(checkout, monkeypatch, said, expected):
    """Where sam fails its reason stands in the first line, without its wrapping, after the end of its output."""
    monkeypatch.setenv("FAKE_SAM_SAYS", said)
    monkeypatch.setenv("FAKE_SAM_CODE", "1")
    done = geodl_here("deploy", "--cpu-image", "geodl:cpu")
    assert (done.returncode, first_error(done)) == (2, f"error: sam build: {expected}")
    assert f"  {said.splitlines()[-1]}" in done.stderr
