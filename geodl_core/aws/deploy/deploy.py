"""What a stack is asked to be, checked before anything is built: parameters, images, the state that it is in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import boto3
from botocore.exceptions import ClientError

from geodl_core.aws.cost.cost import machine_usd
from geodl_core.aws.cost.prices import read_prices
from geodl_core.aws.cost.setup import JOB_VCPUS, SCENES_A_JOB, Setup
from geodl_core.aws.cost.stack_setup import COMPUTES
from geodl_core.aws.deploy.change_set import last_failure
from geodl_core.aws.deploy.source import Source
from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.clients import CONFIG, client
from geodl_core.aws.site.stack import Stack, describe_stack
from geodl_core.errors import InputError

ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+)"
    r"(?::(?P<tag>[^:@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
IMAGES = ("CpuImage", "Image")
"""Parameters that name containers."""
BROKEN = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "UPDATE_ROLLBACK_FAILED")
"""States that no deployment leads out of."""
TAG = "geodl:stack"
"""Of all that a stack makes: by it a budget knows what belongs to the stack, once it is activated for billing."""
MACHINE = ("ShardCompute", "GpuInstanceTypes")
"""Parameters that say what a machine of shards costs."""
OPTIONS = {"CpuImage": "--cpu-image"}
"""Parameter that has to be given → the option that does so."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where is deployed, and by whom."""

    id: str
    region: str
    caller: str
    """ARN of the user or role."""

    def repository(self, name: str) -> str:
        """Return the address that a repository of this name has in ECR.

        Args:
            name: of the repository, which need not be there.
        """
        return f"{self.id}.dkr.ecr.{self.region}.amazonaws.com/{name.lower()}"


def read_account() -> Account:
    """Return the account that credentials lead to.

    Raises:
        InputError: there are no credentials, no region, or AWS does not know them.
        UnavailableError: AWS does not answer.
    """
    with account_errors("AWS"):
        sts = client("sts")
        told = sts.get_caller_identity()
        return Account(str(told["Account"]), str(sts.meta.region_name), str(told["Arn"]))


def require_ready(stack: str) -> Mapping[str, Any] | None:
    """Return what is known of a stack that may be deployed to, None where there is none yet.

    Raises:
        InputError: something else is happening to it, or it is in a state that no deployment leads out of.
        UnavailableError: AWS does not answer.
    """
    told = describe_stack(stack)
    if told is None or told["StackStatus"] == "REVIEW_IN_PROGRESS":
        return None
    status = str(told["StackStatus"])
    if status.endswith("_IN_PROGRESS"):
        raise InputError(f"stack {stack}: it is {status}", hint="wait for its end; only one may change it at a time")
    if status in BROKEN:
        raise last_failure(stack, status)
    return told


def read_pairs(pairs: Iterable[str], option: str) -> dict[str, str]:
    """Return KEY=VALUE options by key.

    Raises:
        InputError: one is of another form, or a key is there twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise InputError(f"{option} {pair[:80]}: expected KEY=VALUE")
        if key in found:
            raise InputError(f"{option} {key}: it is given twice")
        found[key] = value
    return found


def choose_parameters(source: Source, given: Mapping[str, str], told: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the parameters to set: those given, and what follows from them.

    Args:
        source: the checkout.
        given: by name.
        told: of the stack that is there, None for a new one.

    Raises:
        InputError: the template has no such parameter, or one that has to be given is not.
    """
    unknown = [name for name in given if name not in source.defaults]
    if unknown:
        close = get_close_matches(unknown[0], list(source.defaults), 1)
        raise InputError(
            f"parameter {unknown[0]}: {source.template} has none of this name" + (f"; {close[0]}?" if close else ""),
            hint=f"it has {', '.join(sorted(source.defaults))}",
        )
    before = parameters_of(told)
    for name, default in source.defaults.items():
        if default is None and name not in given and name not in before:
            raise InputError(f"parameter {name}: a new stack needs it", hint=OPTIONS.get(name, f"--parameter {name}=…"))
    _require_shards_image(source, {**before, **given})
    chosen = dict(given)
    is_open = "BackfillConcurrency" in source.defaults and "BackfillConcurrency" not in given
    if is_open and (told is None or "MaxGpuVcpus" in given):
        chosen["BackfillConcurrency"] = str(scenes_at_once(_most_vcpus(source, given, before)))
    is_priced = "GpuHourUsd" in source.defaults and "GpuHourUsd" not in given
    if is_priced and (told is None or any(name in given for name in MACHINE)):
        price = hour_usd({name: {**source.defaults, **before, **given}.get(name) or "" for name in MACHINE})
        chosen |= {} if price is None else {"GpuHourUsd": f"{price:.4f}"}
    return chosen


def choose_tags(stack: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a stack, which CloudFormation gives to all in it that can have some: those given, and its own.

    Raises:
        InputError: the stack's own is given, as something else.
    """
    if given.get(TAG, stack) != stack:
        raise InputError(f"--tag {TAG}: expected {stack}, the stack's name, found {given[TAG][:80]}")
    return {**given, TAG: stack}


def hour_usd(parameters: Mapping[str, str]) -> float | None:
    """Return what an hour of a machine of shards costs, by the table of prices.

    Args:
        parameters: `MACHINE` by name.

    Returns:
        US dollars; None where the table does not know the machine.
    """
    known, prices = COMPUTES.get(parameters["ShardCompute"]), read_prices()
    instance = parameters["GpuInstanceTypes"].split(",")[0].strip()
    if known is None or (known[0] == "gpu-ec2" and instance not in prices.prices):
        return None
    return machine_usd(Setup(compute=known[0], instance=instance, is_spot=known[1]), prices)


def scenes_at_once(most_vcpus: int) -> int:
    """Return how many scenes of a back-fill go on at once, by the virtual processors of all machines."""
    return max(1, SCENES_A_JOB * (most_vcpus // JOB_VCPUS))


def parameters_of(told: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the parameters of a stack, as CloudFormation tells them."""
    entries = () if told is None else told.get("Parameters", ())
    return {str(entry["ParameterKey"]): str(entry.get("ParameterValue", "")) for entry in entries}


def require_images(chosen: Mapping[str, str]) -> list[str]:
    """See that the containers are there; return the ones that cannot be looked up, as they do not lie in ECR.

    Args:
        chosen: parameters to set.

    Raises:
        InputError: an image is not there.
        UnavailableError: AWS does not answer.
    """
    strange = []
    for name in IMAGES:
        image = chosen.get(name)
        found = ECR.fullmatch(image) if image else None
        if image and found is None:
            strange.append(image)
        elif image and found is not None:
            _require_image(name, image, found)
    return strange


def next_steps(stack: Stack, models: Iterable[str]) -> list[str]:
    """Return the commands that a person types after a deployment."""
    option = "" if stack.name == "geodl" else f" --stack {stack.name}"
    steps = [] if list(models) else [f"geodl model add landcover.emd --stack {stack.name}"]
    steps.append(f"geodl watch add watch.yaml --stack {stack.name}")
    steps += [f"geodl publish item.json --stack {stack.name}"] if stack.items_topic else []
    steps.append(f"geodl aws status{option}")
    return steps


def _require_shards_image(source: Source, chosen: Mapping[str, str]) -> None:
    """See that machines with GPUs have a container, as a rule of the template demands once all is built."""
    if not {"Image", "ShardCompute"} <= source.defaults.keys():
        return
    if chosen.get("Image") or source.defaults["Image"]:
        return
    compute = chosen.get("ShardCompute") or source.defaults["ShardCompute"]
    if compute != "fargate":
        raise InputError(
            f"parameter Image: ShardCompute={compute} needs the container of shards",
            hint="--image, or --parameter ShardCompute=fargate for none",
        )


def _require_image(name: str, image: str, found: re.Match[str]) -> None:
    which = {"imageDigest": found["digest"]} if found["digest"] else {"imageTag": found["tag"] or "latest"}
    with account_errors(f"image {image}"):
        ecr = boto3.client("ecr", region_name=found["region"], config=CONFIG)
        try:
            ecr.describe_images(registryId=found["account"], repositoryName=found["repository"], imageIds=[which])
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in ("ImageNotFoundException", "RepositoryNotFoundException"):
                raise
            missing = "repository" if code.startswith("Repository") else "image"
            raise InputError(
                f"{name} {image}: there is no such {missing} in ECR",
                hint="docs/aws.md tells how to build and push it from infra/Dockerfile",
            ) from error


def _most_vcpus(source: Source, given: Mapping[str, str], before: Mapping[str, str]) -> int:
    text = given.get("MaxGpuVcpus") or before.get("MaxGpuVcpus") or source.defaults.get("MaxGpuVcpus") or "0"
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"parameter MaxGpuVcpus: expected a number, found {text[:40]!r}") from error
