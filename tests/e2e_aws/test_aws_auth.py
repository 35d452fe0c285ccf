"""On AWS, with IAM in force: the same as in the open, and each role's permissions are needed."""

import json
from contextlib import contextmanager

import pytest
from test_aws_open import test_an_item_on_the_topic_becomes_an_item_of_the_api, watched  # noqa: F401  # the same promise

from deployed import STACK, add_watch, eventually, geodl, publish, upload_scene
from incidents import ended_run, messages, queue_attributes, retry, run_of, said
from scenes import write_scene

pytestmark = [pytest.mark.aws, pytest.mark.postgres, pytest.mark.xdist_group("aws-auth")]


@pytest.fixture(scope="module")
def stack(deploy, jobs_images):
    with deploy(auth=True, images=jobs_images, functions=4) as stack:
        yield stack


@pytest.fixture(scope="module")
def scene(stack, watched, tmp_path_factory):  # noqa: F811  # the fixture
    """What gives a scene of this name to be published, which a watch wants."""
    folder = tmp_path_factory.mktemp("meadow")
    write_scene(folder, (128, 128))
    item = json.dumps(upload_scene(stack, folder / "scene.json", "meadow", "meadows"))
    add_watch(stack, folder, "meadows")
    return lambda name: {**json.loads(item), "id": name}


@contextmanager
def without_policies(stack, role):
    """A role that may do nothing meanwhile."""
    resources, iam = stack.client("cloudformation"), stack.client("iam")
    found = resources.describe_stack_resource(StackName=STACK, LogicalResourceId=role)["StackResourceDetail"]
    name = found["PhysicalResourceId"]
    kept = {
        policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
    }
    assert kept
    for policy in kept:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    try:
        yield
    finally:
        for policy, document in kept.items():
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))


@pytest.mark.parametrize(
    ("role", "parts"),
    [
        ("ShardRole", ("work/", "access is refused", "shard 0")),
        ("MergeRasterRole", ("work/", "access is refused")),
    ],
)
def test_a_step_that_may_do_nothing_is_told(stack, scene, role, parts):
    """Without its role's policy a step is refused, and the run says what; with it again, a retry serves."""
    with without_policies(stack, role):
        publish(stack, scene(f"without-{role}"))
        run = ended_run(stack, f"without-{role}")
    assert run["state"] in {"failed", "invalid"}
    assert said(run["error"]["message"], *parts)
    retry(stack, run)
    assert ended_run(stack, f"without-{role}", attempt=2)["state"] == "succeeded"


def test_messages_that_nobody_may_take_are_not_lost(stack, scene):
    """Without the policy of the function that takes them they become dead letters; with it again, replaying serves."""
    with queue_attributes(stack, VisibilityTimeout="1"):
        with without_policies(stack, "IngestRole"):
            publish(stack, scene("unheard"))
            eventually(lambda: messages(stack, "IngestDeadLetters") == 1)
        assert run_of(stack, "unheard") is None
        assert said(geodl(stack, "aws", "replay-dlq"), "nothing is wrong with it now", "1 dead letter sent again")
        assert ended_run(stack, "unheard")["state"] == "succeeded"
