"""Functions that are container images run what the same map says that jobs' images run."""

import json

import pytest
from aws_probe import eventually, invoke, named

pytestmark = pytest.mark.aws
CONFIG = {"EntryPoint": ["python", "-m", "awslambdaric"], "Command": ["app.handler"], "WorkingDirectory": "/var/task"}


def make(aws, role, image="function:1", **more):
    name = named("image")
    aws.lambda_.create_function(
        FunctionName=name, PackageType="Image", Code={"ImageUri": image}, Role=role, ImageConfig=CONFIG, **more
    )
    eventually(lambda: aws.lambda_.get_function_configuration(FunctionName=name)["State"] == "Active", 10, 0.02)
    return name


def test_an_image_runs_with_its_own_environment(aws, role):
    """Entry point, command and folder are the function's, variables the image's below the function's own."""
    variables = {"OWN": "mine", "BOTH": "function"}
    function = make(aws, role, MemorySize=512, Timeout=20, Environment={"Variables": variables})
    answer, _ = invoke(aws, function, {"a": 1})
    assert {name: answer[name] for name in ("FROM_IMAGE", "OWN", "BOTH")} == {
        "FROM_IMAGE": "yes",
        "OWN": "mine",
        "BOTH": "function",
    }
    assert (answer["given"], answer["memory"]) == ({"a": 1}, "512")
    assert answer["folder"].endswith("/task")


def test_an_image_s_errors_have_their_names(aws, role):
    """What a handler raises in an image arrives as from any other function."""
    answer, told = invoke(aws, make(aws, role, Timeout=20), {"fail": "x"})
    assert (told["FunctionError"], answer["errorType"], answer["errorMessage"]) == ("Unhandled", "KeyError", "'x'")


def test_an_image_that_is_not_there_makes_no_function(aws, role):
    """Lambda refuses an image that it cannot pull, when a function is made and when it is changed."""
    with pytest.raises(aws.lambda_.exceptions.InvalidParameterValueException, match="Source image nowhere:1 does not"):
        make(aws, role, "nowhere:1")
    function = make(aws, role)
    with pytest.raises(aws.lambda_.exceptions.InvalidParameterValueException, match="Source image nowhere:1 does not"):
        aws.lambda_.update_function_code(FunctionName=function, ImageUri="nowhere:1")


@pytest.mark.parametrize("image", ["function:2", "nowhere:2"])
def test_a_template_with_an_image(aws, role, image):
    """CloudFormation makes such a function, and fails with Lambda's words where the image is not there."""
    properties = {
        "PackageType": "Image",
        "Code": {"ImageUri": image},
        "ImageConfig": CONFIG,
        "Role": role,
        "Timeout": 20,
    }
    template = {"Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": properties}},
                "Outputs": {"Name": {"Value": {"Ref": "F"}}}}  # fmt: skip
    stack = named("image")
    aws.cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(template))

    def over():
        found = aws.cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        return None if found["StackStatus"].endswith("IN_PROGRESS") else found

    found = eventually(over, 20)
    if image.startswith("nowhere"):
        events = aws.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        assert "ROLLBACK" in found["StackStatus"]
        assert any("Source image nowhere:2 does not exist" in one.get("ResourceStatusReason", "") for one in events)
    else:
        answer, _ = invoke(aws, found["Outputs"][0]["OutputValue"], {})
        assert answer["FROM_IMAGE"] == "yes"
