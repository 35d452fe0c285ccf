"""CloudFormation stacks on moto, whose outputs are those of a deployment, as literal values."""

import json
from collections.abc import Mapping

from cloud import Cloud, client


def stack_of(cloud: Cloud, *, parameters: Mapping[str, str] | None = None, **outputs: str) -> str:
    """Make a stack that tells of a deployment, and return its name.

    Args:
        cloud: the deployment.
        parameters: of the stack, with their values.
        outputs: further ones, by key.
    """
    name = f"stack-{cloud.table}"
    told = {
        "Bucket": cloud.bucket.name,
        "Table": cloud.table,
        "ItemsTopic": cloud.topic,
        "IngestQueue": cloud.queue,
        "SceneMachine": cloud.deployment.machine,
    }
    given = dict(parameters or {})
    template = {
        "Parameters": {key: {"Type": "String", "Default": value} for key, value in given.items()},
        "Resources": {"Anchor": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {key: {"Value": value} for key, value in (told | outputs).items()},
    }
    if not given:
        del template["Parameters"]
    client("cloudformation").create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )
    return name
