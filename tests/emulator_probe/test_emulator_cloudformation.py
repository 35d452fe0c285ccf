"""CloudFormation and SAM: a template with an HTTP API and all of AWS Batch is deployed, changed and deleted."""

import json
import urllib.error
import urllib.request

import pytest
from aws_probe import ended, eventually, make_function, named, output

pytestmark = pytest.mark.aws
ANSWER = """
import json

def handler(event, context):
    told = {name: event.get(name) for name in ("version", "rawPath", "pathParameters", "queryStringParameters")}
    return {"statusCode": 201, "headers": {"x-own": "yes"}, "body": json.dumps(told)}
"""
CHECK = """
def handler(event, context):
    return {"isAuthorized": event["headers"].get("authorization") == "Bearer let me in"}
"""
RETRIES = {"Attempts": 2, "EvaluateOnExit": [{"OnStatusReason": "Host EC2*", "Action": "RETRY"}]}
CONTAINER = {"Image": "geodl:1", "Command": ["Ref::Shard"], "ResourceRequirements": [{"Type": "VCPU", "Value": "1"}]}


def template(attempts):
    function = {
        "Type": "AWS::Serverless::Function",
        "Properties": {"Handler": "index.handler", "Runtime": "python3.13"},
    }
    events = {
        "Run": {"Type": "HttpApi", "Properties": {"ApiId": {"Ref": "Api"}, "Method": "GET", "Path": "/runs/{id}"}},
        "Open": {
            "Type": "HttpApi",
            "Properties": {"ApiId": {"Ref": "Api"}, "Method": "ANY", "Path": "/open", "Auth": {"Authorizer": "NONE"}},
        },
    }
    checks = {"FunctionArn": {"Fn::GetAtt": ["Check", "Arn"]}, "AuthorizerPayloadFormatVersion": "2.0",
              "EnableSimpleResponses": True, "EnableFunctionDefaultPermissions": True,
              "Identity": {"Headers": ["Authorization"], "ReauthorizeEvery": 0}}  # fmt: skip
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {
            "Api": {
                "Type": "AWS::Serverless::HttpApi",
                "Properties": {"Auth": {"DefaultAuthorizer": "Checks", "Authorizers": {"Checks": checks}}},
            },
            "Answer": {**function, "Properties": {**function["Properties"], "InlineCode": ANSWER, "Events": events}},
            "Check": {**function, "Properties": {**function["Properties"], "InlineCode": CHECK}},
            "Fair": {
                "Type": "AWS::Batch::SchedulingPolicy",
                "Properties": {
                    "FairsharePolicy": {"ShareDistribution": [{"ShareIdentifier": "a*", "WeightFactor": 2}]}
                },
            },
            "Machines": {
                "Type": "AWS::Batch::ComputeEnvironment",
                "Properties": {"Type": "MANAGED", "ComputeResources": {"Type": "SPOT", "MinvCpus": 0, "MaxvCpus": 8}},
            },
            "Jobs": {
                "Type": "AWS::Batch::JobQueue",
                "Properties": {
                    "Priority": 10,
                    "SchedulingPolicyArn": {"Ref": "Fair"},
                    "ComputeEnvironmentOrder": [{"Order": 1, "ComputeEnvironment": {"Ref": "Machines"}}],
                },
            },
            "Work": {
                "Type": "AWS::Batch::JobDefinition",
                "Properties": {
                    "Type": "container",
                    "Parameters": {"Shard": "none"},
                    "ContainerProperties": CONTAINER,
                    "RetryStrategy": {**RETRIES, "Attempts": attempts},
                    "Timeout": {"AttemptDurationSeconds": 60},
                },
            },
        },
        "Outputs": {name: {"Value": {"Ref": name}} for name in ("Api", "Fair", "Machines", "Jobs", "Work")},
    }


@pytest.fixture(scope="module")
def stack(aws):
    name = named("stack")
    capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    body = json.dumps(template(2))
    aws.cloudformation.create_stack(StackName=name, TemplateBody=body, Capabilities=capabilities)
    waiting = {"StackName": name, "WaiterConfig": {"Delay": 0.2, "MaxAttempts": 150}}
    aws.cloudformation.get_waiter("stack_create_complete").wait(**waiting)
    yield name
    aws.cloudformation.delete_stack(StackName=name)
    aws.cloudformation.get_waiter("stack_delete_complete").wait(**waiting)


def outputs(aws, stack):
    (found,) = aws.cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}


def get(aws, api, path, **headers):
    """Status and JSON of a GET to an HTTP API's default stage."""
    url = f"{aws.emulator.endpoint}/_aws/execute-api/{api}/$default{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def test_resources_of_batch_are_made_as_written(aws, stack):
    """Ref gives ARNs; queue, policy and definition hold what the template says; keys of parameters stay as they are."""
    made = outputs(aws, stack)
    assert all(made[name].startswith("arn:aws:batch:") for name in ("Fair", "Machines", "Jobs", "Work"))
    (queue,) = aws.batch.describe_job_queues(jobQueues=[made["Jobs"]])["jobQueues"]
    assert (queue["priority"], queue["schedulingPolicyArn"]) == (10, made["Fair"])
    assert queue["computeEnvironmentOrder"] == [{"order": 1, "computeEnvironment": made["Machines"]}]
    name = made["Work"].rsplit("/", 1)[1].split(":")[0]
    (definition,) = aws.batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"]
    assert definition["parameters"] == {"Shard": "none"}
    assert definition["retryStrategy"]["evaluateOnExit"] == [{"onStatusReason": "Host EC2*", "action": "RETRY"}]
    assert definition["containerProperties"]["resourceRequirements"] == [{"type": "VCPU", "value": "1"}]


def test_routes_of_sam_s_api_reach_the_function(aws, stack):
    """A path with a parameter and a query arrives in payload 2.0; what no route knows is not found."""
    api = outputs(aws, stack)["Api"]
    status, told = get(aws, api, "/runs/7?x=1", Authorization="Bearer let me in")
    expected = {
        "version": "2.0",
        "rawPath": "/runs/7",
        "pathParameters": {"id": "7"},
        "queryStringParameters": {"x": "1"},
    }
    assert (status, told) == (201, expected)
    assert get(aws, api, "/elsewhere")[0] == 404


def test_authorizers_of_sam_s_api_are_asked(aws, stack):
    """Without the right header a route is refused; one that wants no authorizer is open."""
    api = outputs(aws, stack)["Api"]
    assert get(aws, api, "/runs/7")[0] == 401
    assert get(aws, api, "/runs/7", Authorization="Bearer guess")[0] == 403
    assert get(aws, api, "/open")[0] == 201


def test_a_changed_definition_is_a_new_revision(aws, stack):
    """Updating the stack revises the job definition; the queue stays."""
    before = outputs(aws, stack)
    capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    aws.cloudformation.update_stack(StackName=stack, TemplateBody=json.dumps(template(3)), Capabilities=capabilities)
    waiter = aws.cloudformation.get_waiter("stack_update_complete")
    waiter.wait(StackName=stack, WaiterConfig={"Delay": 0.2, "MaxAttempts": 150})
    after = outputs(aws, stack)
    assert after["Jobs"] == before["Jobs"]
    assert (before["Work"][-2:], after["Work"]) == (":1", before["Work"][:-1] + "2")


def test_a_machine_in_yaml_is_deployed(aws, bucket):
    """SAM's DefinitionUri with substitutions, in YAML as the project writes it; what is no machine is refused."""
    text = "StartAt: P\nStates:\n  P:\n    Type: Pass\n    Result: {said: '${Word}'}\n    End: true\n"
    for key, body in (("good.asl.yaml", text), ("bad.asl.yaml", "States: {}\n")):
        aws.s3.put_object(Bucket=bucket, Key=key, Body=body.encode())
        place = {"DefinitionUri": f"s3://{bucket}/{key}", "DefinitionSubstitutions": {"Word": "hello"}}
        machine = {"Type": "AWS::Serverless::StateMachine", "Properties": place}
        document = {"Transform": "AWS::Serverless-2016-10-31", "Resources": {"M": machine}}
        document["Outputs"] = {"M": {"Value": {"Ref": "M"}}}
        stack = named("machine")
        aws.cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(document))

        def status(stack=stack):
            (found,) = aws.cloudformation.describe_stacks(StackName=stack)["Stacks"]
            return found["StackStatus"] if "IN_PROGRESS" not in found["StackStatus"] else None

        assert eventually(status) == ("CREATE_COMPLETE" if key.startswith("good") else "ROLLBACK_COMPLETE")
        if key.startswith("good"):
            started = aws.stepfunctions.start_execution(stateMachineArn=outputs(aws, stack)["M"])
            assert output(ended(aws, started["executionArn"])) == {"said": "hello"}


def test_an_api_made_by_hand_reaches_its_function(aws, role):
    """API Gateway's own calls make an HTTP API, too."""
    function, gateway = make_function(aws, ANSWER, role), aws.apigatewayv2
    api = gateway.create_api(Name=named("api"), ProtocolType="HTTP")["ApiId"]
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    gateway.create_route(ApiId=api, RouteKey="GET /runs/{id}", Target=f"integrations/{integration}")
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    status, told = get(aws, api, "/runs/7?x=1")
    assert (status, told["pathParameters"]) == (201, {"id": "7"})
