"""A deployment is found by the name of its stack."""

import json
import re
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from cloud import client
from geodl_core.aws.deploy.source import parse_template
from geodl_core.aws.site.account import account_errors
from geodl_core.aws.site.stack import OUTPUTS, Stack, read_stack, stack_deployment
from geodl_core.errors import InputError, UnavailableError
from stacks import stack_of

TOPIC = {"Type": "AWS::SNS::Topic"}


def test_a_stack_tells_its_deployment(cloud):
    """Outputs become fields, those that are absent are empty, parameters are there by name."""
    name = stack_of(cloud, parameters={"MaxGpuVcpus": "32"})
    stack = read_stack(name)
    assert (stack.bucket, stack.table, stack.name) == (cloud.bucket.name, cloud.table, name)
    assert (stack.ingest_queue, stack.items_topic) == (cloud.queue, cloud.topic)
    assert stack.catalog_url == ""
    assert stack.parameters == {"MaxGpuVcpus": "32"}
    deployment = stack_deployment(stack)
    assert deployment.bucket == cloud.bucket
    assert deployment.machine == cloud.deployment.machine
    assert deployment.ledger.table.name == cloud.table


def test_every_output_has_its_field():
    """The names of outputs in the template and those of fields go together, and none is left out."""
    in_snake_case = {re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower() for key in OUTPUTS}
    assert in_snake_case == set(OUTPUTS.values())
    assert set(Stack.__dataclass_fields__) - in_snake_case == {"name", "status", "parameters"}


def test_the_template_has_these_outputs():
    """What the template tells is what is looked for, and the other way round."""
    template = parse_template((Path(__file__).parents[2] / "template.yaml").read_text(encoding="utf-8"))
    assert set(template["Outputs"]) == set(OUTPUTS)


def test_a_stack_that_is_not_there_is_named(cloud):
    """Who asks for a stack that is not there reads its name and how to get one."""
    with pytest.raises(InputError, match="stack nosuch: there is none") as caught:
        read_stack("nosuch")
    assert "geodl deploy" in caught.value.hint


@pytest.mark.parametrize("name", ["", "a b", "-x", "a/b", "0a", "x" * 129])
def test_what_is_no_name_is_refused(cloud, name):
    """A name that CloudFormation would not take is never asked for."""
    with pytest.raises(InputError, match="expected a stack's name"):
        read_stack(name)


def test_a_stack_of_something_else_is_refused(cloud):
    """A stack without geodl's outputs is not taken for a deployment."""
    client("cloudformation").create_stack(StackName="other", TemplateBody=json.dumps({"Resources": {"Topic": TOPIC}}))
    with pytest.raises(InputError, match="stack other: expected one of geodl"):
        read_stack("other")


def test_missing_region_and_credentials_are_named(cloud, monkeypatch):
    """Without a region or credentials the message says which of them is missing."""
    # boto3 keeps one session, with what it found at first.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(InputError, match="expected credentials"):
        read_stack("geodl")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name)
    with pytest.raises(InputError, match="expected a region"):
        read_stack("geodl")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    with pytest.raises(InputError, match="nosuch"):
        read_stack("geodl")


def test_a_silent_account_is_worth_another_try(cloud, monkeypatch):
    """Where nobody listens the error is a transient one."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UnavailableError, match="stack geodl: AWS does not answer"):
        read_stack("geodl")


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("ExpiredToken", InputError, "have expired"),
        ("InvalidClientTokenId", InputError, "does not know these credentials"),
        ("AccessDenied", InputError, "may not do that"),
        ("Throttling", UnavailableError, "answers Throttling"),
    ],
)
def test_refusals_are_told_apart(code, kind, text):
    """What only a person can mend is no transient error; throttling is one."""
    with pytest.raises(kind, match=f"stack geodl: .*{text}"), account_errors("stack geodl"):
        raise ClientError({"Error": {"Code": code, "Message": "m"}}, "DescribeStacks")
