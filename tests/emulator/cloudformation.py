"""CloudFormation: the resources of AWS Batch, which MiniStack does not know (Ref and GetAtt are ARNs, as on AWS), and
definitions of state machines in YAML, which it takes but cannot run.

Sources: CloudFormation's template reference for AWS::Batch::* and AWS::StepFunctions::StateMachine.
"""

import json

import yaml
from ministack.services import batch
from ministack.services.cloudformation import provisioners

from emulator import batch_definitions
from emulator.batch_definitions import last_part, policies
from emulator.batch_names import camel
from emulator.options import Options


def install(options: Options) -> None:
    """Add the resource types, and read definitions in YAML."""
    provisioners._sfn_definition = _as_json(provisioners._sfn_definition)
    _refer_to_secrets_by_arn(provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"])
    provisioners._RESOURCE_HANDLERS.update(
        {
            "AWS::Batch::ComputeEnvironment": {
                "create": _maker("ComputeEnvironmentName", "ComputeEnvironmentArn", batch._create_compute_environment),
                "update": _updater("computeEnvironment", "ComputeEnvironmentArn", batch._update_compute_environment),
                "delete": lambda arn, properties: batch._compute_envs.pop(last_part(arn), None),
            },
            "AWS::Batch::JobQueue": {
                "create": _maker("JobQueueName", "JobQueueArn", batch_definitions.create_queue),
                "update": _updater("jobQueue", "JobQueueArn", batch_definitions.update_queue),
                "delete": lambda arn, properties: batch._job_queues.pop(last_part(arn), None),
            },
            "AWS::Batch::JobDefinition": {
                "create": _maker("JobDefinitionName", "JobDefinitionArn", batch_definitions.register),
                "update": _revise,
                "delete": lambda arn, properties: batch_definitions.deregister({"jobDefinition": arn}),
            },
            "AWS::Batch::SchedulingPolicy": {
                "create": _maker("Name", "Arn", batch_definitions.create_policy),
                "update": _replace_policy,
                "delete": lambda arn, properties: policies.pop(arn, None),
            },
        }
    )


def _refer_to_secrets_by_arn(handlers):
    """Ref of a secret is its ARN on AWS, a name here: policies that are written with Ref would allow nothing."""
    create, update, delete = handlers["create"], handlers["update"], handlers["delete"]

    def named(arn):
        return last_part(arn).rpartition(":")[2].rpartition("-")[0] if arn.startswith("arn:") else arn

    def create_secret(logical_id, properties, stack):
        _, told = create(logical_id, properties, stack)
        return told["Arn"], told

    def update_secret(arn, *rest, **more):
        _, told = update(named(arn), *rest, **more)
        return arn, {**told, "Id": arn, "Arn": arn}

    handlers.update(create=create_secret, update=update_secret, delete=lambda arn, *rest: delete(named(arn), *rest))


def _as_json(definition):
    def read(properties):
        found = yaml.safe_load(definition(properties))
        if not isinstance(found, dict) or not {"StartAt", "States"} <= set(found):
            raise ValueError("Invalid State Machine Definition: there is no StartAt or no States")
        return json.dumps(found)

    return read


def _maker(name_field, arn_field, action):
    def create(logical_id, properties, stack):
        name = properties.get(name_field) or provisioners._physical_name(stack, logical_id)
        return _arn(action, {**camel(properties), camel({name_field: 0}).popitem()[0]: name}, arn_field)

    return create


def _updater(reference, arn_field, action):
    def update(arn, old, new, stack):
        action({**camel(new), reference: arn})
        return arn, {arn_field: arn}

    return update


def _revise(arn, old, new, stack):
    """A job definition does not change: a new revision takes its place."""
    name = last_part(arn).partition(":")[0]
    made = _arn(batch_definitions.register, {**camel(new), "jobDefinitionName": name}, "JobDefinitionArn")
    batch_definitions.deregister({"jobDefinition": arn})
    return made


def _replace_policy(arn, old, new, stack):
    policies[arn] = {**camel(new), "arn": arn}
    return arn, {"Arn": arn}


def _arn(action, request, arn_field):
    status, _, body = action(request)
    answer = json.loads(body)
    if status >= 400:
        raise ValueError(answer.get("message"))
    arn = answer[arn_field[:1].lower() + arn_field[1:]]
    return arn, {arn_field: arn}
