"""`geodl deploy` from the plan to the end of the stack: with a script in place of `sam`, and with `sam` itself."""

import json
import os
import subprocess
from pathlib import Path

import boto3
import pytest
from aws_probe import named

from checkouts import make_checkout
from commands import geodl_here
from emulator import launch
from geodl_core.aws.deploy import change_set
from geodl_core.aws.site.stack import read_stack

pytestmark = pytest.mark.aws
SAM = launch.PLACE / "deploy" / "bin"
IMAGE = ["--cpu-image", "geodl:cpu"]
SERVERLESS = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  CpuImage: {Type: String}
  ForeignFilter: {Type: String, Default: "{}"}
Resources:
  Bucket: {Type: "AWS::S3::Bucket"}
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
  Answer:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.handler, Runtime: RUNTIME, CodeUri: functions/answer}
  Container:
    Type: AWS::Serverless::Function
    Properties: {PackageType: Image, ImageUri: !Ref CpuImage, ImageConfig: {Command: [app.handler]}}
  Machine:
    Type: AWS::Serverless::StateMachine
    Properties:
      Definition: {StartAt: P, States: {P: {Type: Pass, End: true}}}
Outputs:
  Bucket: {Value: !Ref Bucket}
  Table: {Value: !Ref Table}
  SceneMachine: {Value: !Ref Machine}
  CatalogUrl: {Value: !Ref ForeignFilter}
"""


@pytest.fixture
def checkout(emulator, tmp_path, monkeypatch):
    """A checkout in whose folder the test is, with the emulator as AWS."""
    made = make_checkout(tmp_path, named("deployed"))
    for name in [name for name in os.environ if name.startswith(("AWS_", "GEODL_"))]:
        monkeypatch.delenv(name)
    for name, value in {**emulator.environment, **made.environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(change_set, "PAUSE_S", 0.1)
    monkeypatch.chdir(made.folder)
    return made


def deploy(*words):
    done = geodl_here("deploy", *words)
    assert done.returncode == 0, done.stderr
    return [line.rstrip() for line in done.stdout.splitlines()]


def runtime():
    """The Python that is surely there for sam to build with: its own."""
    code = "import sys; print('python{}.{}'.format(*sys.version_info))"
    return subprocess.run([SAM / "python", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def first_error(done):
    return next(line for line in done.stderr.splitlines() if line.startswith("error: "))


def test_a_new_deployment_is_planned_and_executed(checkout):
    """All that is new is shown before it is made; what one needs is printed after it."""
    name = checkout.name
    assert deploy(*IMAGE, "--yes") == [
        f"plan for stack {name}, which is new:",
        "+  Table   DynamoDB::Table",
        "+  Bucket  S3::Bucket",
        "+  Topic   SNS::Topic",
        "3 to add, 0 to modify, 0 to replace, 0 to remove",
        f"stack {name} is deployed",
        f"bucket     {name}-files",
        "next",
        f"  geodl model add landcover.emd --stack {name}",
        f"  geodl watch add watch.yaml --stack {name}",
        f"  geodl aws status --stack {name}",
    ]
    assert read_stack(name).status == "CREATE_COMPLETE"


def test_an_update_names_what_goes_first(checkout, aws):
    """Removals and replacements come first and are marked; tables and buckets that go are warned of."""
    deploy(*IMAGE, "--yes")
    checkout.change(Topic={"Type": "AWS::SQS::Queue"})
    path = checkout.root / "real.json"
    changed = json.loads(path.read_text())
    changed["Resources"]["Table"]["Properties"]["TableName"] += "-2"
    path.write_text(json.dumps(changed))
    done = geodl_here("deploy", "--no-build", "--plan")
    assert [line.rstrip() for line in done.stdout.splitlines()] == [
        f"plan for stack {checkout.name}:",
        "±  Table  DynamoDB::Table, is replaced",
        "±  Topic  SQS::Queue, is replaced",
        "0 to add, 0 to modify, 2 to replace, 0 to remove",
        "nothing was changed",
    ]
    assert "warning: data is held by what goes: Table" in done.stderr
    left = aws.cloudformation.list_change_sets(StackName=checkout.name)["Summaries"]
    assert "AVAILABLE" not in {one["ExecutionStatus"] for one in left}


def test_nothing_to_change_is_no_failure(checkout, monkeypatch):
    """A stack that is as the template wants it says so, and prints what one needs."""
    deploy(*IMAGE, "--yes")
    monkeypatch.setenv("FAKE_SAM_SAYS", "Error: No changes to deploy. Stack is up to date")
    lines = deploy("--no-build", "--yes")
    assert lines[:2] == [f"stack {checkout.name}: nothing to change", f"stack {checkout.name} is deployed"]


def test_a_failed_deployment_names_its_root_cause(checkout):
    """The first line names the resource that failed first and why; so does the next attempt, with the way out."""
    broken = {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"RoleArn": "r", "DefinitionString": "{}"}}
    checkout.change(Broken=broken)
    why = f"error: stack {checkout.name}: Broken (AWS::StepFunctions::StateMachine) failed: "
    done = geodl_here("deploy", *IMAGE, "--yes")
    assert done.returncode == 2
    assert first_error(done).startswith(why)
    again = geodl_here("deploy", *IMAGE, "--yes")
    assert first_error(again).startswith(why)
    assert "geodl deploy --remove takes what is left away" in again.stderr
    deploy("--remove", "--yes")


def test_an_update_that_fails_leaves_all_as_it_was(checkout):
    """After a failed change the stack is rolled back, and says so."""
    deploy(*IMAGE, "--yes")
    broken = {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"RoleArn": "r", "DefinitionString": "{}"}}
    checkout.change(Topic={"Type": "AWS::SNS::Topic"}, Broken=broken)
    done = geodl_here("deploy", "--no-build", "--yes")
    assert "Broken (AWS::StepFunctions::StateMachine) failed: " in first_error(done)
    assert "all is as it was before" in done.stderr
    checkout.change(Topic={"Type": "AWS::SNS::Topic"}, Queue={"Type": "AWS::SQS::Queue"})
    assert "+  Queue  SQS::Queue" in deploy("--no-build", "--yes")


def test_a_deployment_with_data_is_not_removed(checkout, aws):
    """--remove refuses what holds data, says how much, and deletes it only when told to."""
    name, bucket = checkout.name, f"{checkout.name}-files"
    deploy(*IMAGE, "--yes")
    for number in range(3):
        aws.s3.put_object(Bucket=bucket, Key=f"results/{number}", Body=b"x")
    aws.dynamodb.put_item(TableName=f"{name}-ledger", Item={"pk": {"S": "RUN#1"}})
    done = geodl_here("deploy", "--remove", "--yes")
    assert done.returncode == 2
    assert first_error(done).startswith(f"error: stack {name}: it holds data: ")
    assert f"bucket {bucket} (3 objects)" in done.stderr
    assert f"table {name}-ledger (1 row)" in done.stderr
    assert deploy("--remove", "--yes", "--with-data")[-1] == f"stack {name} is deleted"
    assert bucket not in [one["Name"] for one in aws.s3.list_buckets()["Buckets"]]
    assert f"{name}-ledger" not in aws.dynamodb.list_tables()["TableNames"]
    assert "there is none" in first_error(geodl_here("deploy", "--remove", "--yes"))


def test_an_empty_deployment_is_removed_and_what_stays_is_said(checkout, aws):
    """A bucket that is to be kept stays, empty as it is, and is named."""
    deploy(*IMAGE, "--yes")
    bucket = f"{checkout.name}-files"
    assert deploy("--remove", "--yes") == [
        f"stack {checkout.name}: 3 resources are to be deleted",
        f"  stays (retain): {bucket} (S3::Bucket)",
        f"stack {checkout.name} is deleted",
        f"stays: {bucket} (S3::Bucket)",
    ]
    assert bucket in [one["Name"] for one in aws.s3.list_buckets()["Buckets"]]


@pytest.mark.skipif(not (SAM / "sam").exists(), reason=f"there is no {SAM / 'sam'} (tests/emulator/setup deploy)")
def test_sam_itself_builds_and_deploys(checkout, monkeypatch):
    """The real `sam` builds and uploads a function; parameters arrive letter for letter; again nothing changes."""
    place = checkout.folder / "functions" / "answer"
    place.mkdir(parents=True)
    (place / "app.py").write_text("def handler(event, context):\n    return {}\n")
    (checkout.folder / "template.yaml").write_text(SERVERLESS.replace("RUNTIME", runtime()))
    monkeypatch.setenv("PATH", f"{SAM}:{Path(os.environ['PATH'])}")
    monkeypatch.setenv("SAM_CLI_TELEMETRY", "0")
    monkeypatch.setenv("HOME", str(checkout.root))
    wanted = '{"collection": ["sentinel-2 l2a", "b,c"]}'
    lines = deploy(*IMAGE, "--allow-dirty", "--yes", "--parameter", f"ForeignFilter={wanted}")
    assert "+  Answer         Lambda::Function" in lines
    stack = read_stack(checkout.name)
    assert stack.catalog_url == wanted
    assert stack.parameters["CpuImage"] == "geodl:cpu"
    assert deploy("--allow-dirty", "--yes")[0] == f"stack {checkout.name}: nothing to change"
    assert deploy("--remove", "--yes")[-1] == f"stack {checkout.name} is deleted"
