"""The gates of scripts/check-aws: a small template passes all of them, and each one stops what it is there for."""

import json
import os
import subprocess

import pytest

from emulator import launch

pytestmark = pytest.mark.aws
SERVICE = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
DOCKERFILE = """FROM debian:12.8-slim
USER 1000
HEALTHCHECK NONE
ENTRYPOINT ["geodl"]
"""
PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}


def statement(resource):
    return {"Effect": "Allow", "Action": ["sqs:GetQueueUrl"], "Resource": resource}


@pytest.fixture
def sample():
    """A template that is in order, to be spoiled."""
    role = {
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [SERVICE]},
        "Policies": [
            {
                "PolicyName": "own",
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [statement({"Fn::GetAtt": ["Queue", "Arn"]})],
                },
            }
        ],
    }
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {
            "Dead": {
                "Type": "AWS::SQS::Queue",
                "Metadata": {"geodl": {"IsDeadLetterQueue": True}},
                "Properties": {"KmsMasterKeyId": "alias/aws/sqs"},
            },
            "Queue": {
                "Type": "AWS::SQS::Queue",
                "Properties": {
                    "KmsMasterKeyId": "alias/aws/sqs",
                    "RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 3},
                },
            },
            "Role": {"Type": "AWS::IAM::Role", "Properties": role},
            "Machine": {
                "Type": "AWS::Serverless::StateMachine",
                "Properties": {"DefinitionUri": "machine.asl.json", "Role": {"Fn::GetAtt": ["Role", "Arn"]}},
            },
        },
    }


@pytest.fixture
def passed(tmp_path):
    """Runs one gate over a template, a machine and a Dockerfile: its exit code and what it says."""
    if not launch.python("gates").exists():
        pytest.skip(f"aws: there is no {launch.python('gates')} (tests/emulator/setup gates)")

    def run(gate, template, machine=PASS, dockerfile=DOCKERFILE, accepted=None):
        texts = {
            "template.json": json.dumps(template, indent=2),
            "machine.asl.json": json.dumps(machine),
            "Dockerfile": dockerfile,
            "accepted.json": json.dumps({gate: accepted or {}}),
        }
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        command = [launch.python("gates"), "-m", "emulator.gates", "template.json", "--gate", gate,
                   "--dockerfile", "Dockerfile", "--accepted", "accepted.json"]  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(launch.TESTS), "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode == 0, done.stdout

    return run


def test_cfn_lint_stops_an_unknown_property(passed, sample):
    """The sample passes; a property that SQS does not have is found."""
    assert passed("cfn-lint", sample) == (True, "cfn-lint: passed\n")
    sample["Resources"]["Queue"]["Properties"]["Colour"] = "red"
    fine, said = passed("cfn-lint", sample)
    assert (fine, "Colour" in said) == (False, True)


def test_asl_validator_stops_a_state_that_leads_nowhere(passed, sample):
    """The sample passes; a Next without its state, and a Distributed Map without ExecutionType, are found."""
    assert passed("asl-validator", sample)[0]
    lost = {"StartAt": "P", "States": {"P": {"Type": "Pass", "Next": "Q"}}}
    fine, said = passed("asl-validator", sample, machine=lost)
    assert (fine, "MISSING_TRANSITION_TARGET" in said) == (False, True)
    processor = {**PASS, "ProcessorConfig": {"Mode": "DISTRIBUTED"}}
    bare = {"StartAt": "M", "States": {"M": {"Type": "Map", "ItemProcessor": processor, "End": True}}}
    fine, said = passed("asl-validator", sample, machine=bare)
    assert (fine, "ItemProcessor/ProcessorConfig" in said) == (False, True)


def test_cfripper_stops_a_wildcard_unless_it_has_a_reason(passed, sample):
    """A role for every resource is found, or accepted by name; a name that nothing finds has to go."""
    assert passed("cfripper", sample)[0]
    (policy,) = sample["Resources"]["Role"]["Properties"]["Policies"]
    policy["PolicyDocument"]["Statement"] = [statement("*")]
    fine, said = passed("cfripper", sample)
    assert (fine, "WildcardResourceRule Role" in said) == (False, True)
    meant = {"WildcardResourceRule Role": "the sample's reason"}
    assert passed("cfripper", sample, accepted=meant)[0]
    fine, said = passed("cfripper", sample, accepted={**meant, "OtherRule Role": "an old reason"})
    assert (fine, "OtherRule Role: is accepted, but nothing finds it" in said) == (False, True)


@pytest.mark.parametrize(
    ("rule", "resource"),
    [
        (
            "every_queue_has_a_dead_letter_queue",
            {"Type": "AWS::SQS::Queue", "Properties": {"SqsManagedSseEnabled": True}},
        ),
        ("queues_are_encrypted", {"Type": "AWS::SQS::Queue", "Metadata": {"geodl": {"IsDeadLetterQueue": True}}}),
        ("no_bucket_is_public", {"Type": "AWS::S3::Bucket", "Properties": {"BucketEncryption": {}}}),
        ("buckets_are_encrypted", {"Type": "AWS::S3::Bucket"}),
        ("logs_end", {"Type": "AWS::Logs::LogGroup", "Properties": {}}),
        ("tables_can_be_restored", {"Type": "AWS::DynamoDB::Table", "Properties": {}}),
    ],
)
def test_guard_stops_what_breaks_a_rule_of_the_house(passed, sample, rule, resource):
    """The sample breaks no rule; each resource breaks the one that is about it."""
    assert passed("guard", sample) == (True, "guard: passed\n")
    sample["Resources"]["Spoiled"] = resource
    fine, said = passed("guard", sample)
    assert (fine, f"  {rule} Spoiled" in said) == (False, True)


def test_guard_reads_the_report_of_a_large_template(passed, sample):
    """Findings on many large resources are told apart, each by its name."""
    large = {"Type": "AWS::SQS::Queue", "Properties": {"Tags": [{"Key": str(n), "Value": "v"} for n in range(30)]}}
    sample["Resources"].update({f"Q{number}": large for number in range(10)})
    fine, said = passed("guard", sample)
    assert not fine
    for number in range(10):
        assert f"every_queue_has_a_dead_letter_queue Q{number}:" in said or f"unreadable Q{number}:" in said


def test_checkov_stops_what_nobody_accepted(passed, sample):
    """A queue without encryption and a Dockerfile without a user are found by their numbers."""
    assert passed("checkov", sample) == (True, "checkov: passed\n")
    del sample["Resources"]["Queue"]["Properties"]["KmsMasterKeyId"]
    fine, said = passed("checkov", sample, dockerfile=DOCKERFILE.replace("USER 1000\n", ""))
    assert (fine, "CKV_AWS_27" in said, "CKV_DOCKER_3" in said) == (False, True, True)


def test_hadolint_stops_an_unpinned_image(passed, sample):
    """The sample passes; an image without a version is found."""
    assert passed("hadolint", sample)[0]
    fine, said = passed("hadolint", sample, dockerfile=DOCKERFILE.replace(":12.8-slim", ":latest"))
    assert (fine, "DL3007" in said) == (False, True)
