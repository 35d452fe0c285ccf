"""AWS Batch: jobs really run, in order, and end as on AWS when something happens to them."""

import json
import os
import signal

import pytest
from aws_probe import eventually, is_alive, make_machine, make_role, named, output, run_machine, task
from botocore.exceptions import ClientError

pytestmark = pytest.mark.aws
ONE_GPU = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}, {"type": "GPU", "value": "1"}]
GEODL_RETRIES = {
    "attempts": 3,
    "evaluateOnExit": [
        {"onStatusReason": "Host EC2*", "action": "RETRY"},
        {"onExitCode": "75", "action": "RETRY"},
        {"onReason": "*", "action": "EXIT"},
    ],
}


@pytest.fixture(scope="module")
def environment(aws, role):
    subnet = aws.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    group = aws.ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    profile = aws.iam.create_instance_profile(InstanceProfileName=named("profile"))["InstanceProfile"]["Arn"]
    made = aws.batch.create_compute_environment(
        computeEnvironmentName=named("spot"),
        type="MANAGED",
        serviceRole=role,
        computeResources={
            "type": "SPOT",
            "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
            "minvCpus": 0,
            "maxvCpus": 16,
            "instanceTypes": ["g5.xlarge"],
            "subnets": [subnet],
            "securityGroupIds": [group],
            "instanceRole": profile,
            "ec2Configuration": [{"imageType": "ECS_AL2023_NVIDIA"}],
        },
    )
    return made["computeEnvironmentArn"]


def make_job_queue(aws, environment, priority=1, **more):
    made = aws.batch.create_job_queue(
        jobQueueName=named("jobs"),
        priority=priority,
        state="ENABLED",
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        **more,
    )
    return made["jobQueueArn"]


@pytest.fixture(scope="module")
def queue(aws, environment):
    return make_job_queue(aws, environment)


def define(aws, *command, image="geodl:1", container=None, **more):
    """A job definition; the image `geodl` runs its one word in a shell."""
    properties = {"image": image, "command": list(command), "resourceRequirements": ONE_GPU, **(container or {})}
    made = aws.batch.register_job_definition(
        jobDefinitionName=named("define"), type="container", containerProperties=properties, **more
    )
    return made["jobDefinitionArn"]


def submit(aws, queue, definition, **more):
    return aws.batch.submit_job(jobName=named("job"), jobQueue=queue, jobDefinition=definition, **more)["jobId"]


def describe(aws, job):
    return aws.batch.describe_jobs(jobs=[job])["jobs"][0]


def finished(aws, job, within_s=20):
    def over():
        found = describe(aws, job)
        return found if found["status"] in ("SUCCEEDED", "FAILED") else None

    return eventually(over, within_s, 0.05)


def running(aws, job):
    return eventually(lambda: (found := describe(aws, job))["status"] == "RUNNING" and found, 20, 0.02)


def codes(job):
    return [attempt["container"].get("exitCode") for attempt in job["attempts"]]


def log(aws, job, group="/aws/batch/job"):
    stream = job["container"]["logStreamName"]
    events = aws.logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    return [event["message"] for event in events]


def test_a_task_runs_a_job_and_waits_for_it(aws, role, queue, tmp_path):
    """batch:submitJob.sync runs the command with its parameters; the job is the task's result."""
    definition = define(aws, "Ref::what", parameters={"what": "exit 1"}, retryStrategy=GEODL_RETRIES)
    given = {
        "JobName": "shard-3",
        "JobQueue": queue,
        "JobDefinition": definition,
        "Parameters": {"what": f"echo $SHARD > {tmp_path}/ran"},
        "ContainerOverrides": {"Environment": [{"Name": "SHARD", "Value": "3"}]},
    }
    found = output(run_machine(aws, task("arn:aws:states:::batch:submitJob.sync", Parameters=given), role))
    assert (found["Status"], found["Container"]["ExitCode"], len(found["Attempts"])) == ("SUCCEEDED", 0, 1)
    assert (tmp_path / "ran").read_text() == "3\n"


def test_a_failed_job_is_the_cause_of_a_failed_task(aws, role, queue):
    """The task fails as States.TaskFailed; its cause is the job, from which people and machines read the exit code."""
    definition = define(aws, "exit 3", retryStrategy=GEODL_RETRIES)
    given = {"JobName": "j", "JobQueue": queue, "JobDefinition": definition}
    found = run_machine(aws, task("arn:aws:states:::batch:submitJob.sync", Parameters=given), role)
    cause = json.loads(found["cause"])
    assert (found["error"], cause["Status"], cause["Container"]["ExitCode"]) == ("States.TaskFailed", "FAILED", 3)


def test_a_job_s_environment_is_batch_s_and_its_own(aws, emulator, queue):
    """The definition's variables, the image's, Batch's and a role's keys; a folder of its own that goes with it."""
    container = {"environment": [{"name": "OWN", "value": "x"}], "jobRoleArn": make_role(aws)}
    definition = define(aws, "sh", "-c", "env; pwd; ls -A", image="plain:2", container=container)
    lines = log(aws, finished(aws, submit(aws, queue, definition)))
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    expected = {"OWN": "x", "FROM_IMAGE": "yes", "AWS_ENDPOINT_URL": emulator.endpoint, "AWS_BATCH_JOB_ATTEMPT": "1"}
    assert expected.items() <= found.items()
    own = {*expected, "PATH", "HOME", "TMPDIR", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}
    assert {name for name in found if not name.startswith("AWS_")} <= own
    assert lines[-1] == found["HOME"]
    assert not os.path.exists(found["HOME"])  # noqa: PTH110  # the emulator's path, not ours


def test_a_transient_exit_is_tried_again(aws, queue, tmp_path):
    """Exit 75 is repeated with its attempt counted, until it succeeds."""
    definition = define(aws, f'[ "$AWS_BATCH_JOB_ATTEMPT" = 3 ] || exit 75; touch {tmp_path}/done',
                        retryStrategy=GEODL_RETRIES)  # fmt: skip
    job = finished(aws, submit(aws, queue, definition))
    assert (job["status"], codes(job), (tmp_path / "done").exists()) == ("SUCCEEDED", [75, 75, 0], True)


def test_another_exit_is_not_tried_again(aws, queue):
    """Any other exit code ends the job; without conditions every exit is repeated as often as allowed."""
    job = finished(aws, submit(aws, queue, define(aws, "exit 2", retryStrategy=GEODL_RETRIES)))
    assert (job["status"], codes(job)) == ("FAILED", [2])
    job = finished(aws, submit(aws, queue, define(aws, "exit 2", retryStrategy={"attempts": 2})))
    assert codes(job) == [2, 2]


@pytest.mark.parametrize("how", ["signal", "terminate"])
def test_a_host_that_spot_takes_back_is_tried_again(aws, queue, how):
    """SIGTERM from outside, or TerminateJob in the host's name, is a lost host: no exit code, another attempt."""
    command = '[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] && exit 0; trap "exit 143" TERM; sleep 60 & wait'
    started = submit(aws, queue, define(aws, command, retryStrategy=GEODL_RETRIES))
    process = int(running(aws, started)["container"]["taskArn"].rsplit("/", 1)[1])
    if how == "signal":
        os.killpg(process, signal.SIGTERM)
    else:
        aws.batch.terminate_job(jobId=started, reason="Host EC2 (instance i-1) terminated.")
    job = finished(aws, started)
    assert (job["status"], codes(job)) == ("SUCCEEDED", [None, 0])
    assert job["attempts"][0]["statusReason"].startswith("Host EC2 (instance i-")


def test_a_job_out_of_time_is_stopped_and_not_repeated(aws, queue):
    """A time-out ends the job for good, even one that ignores SIGTERM."""
    definition = define(aws, "trap '' TERM; sleep 60 & wait; sleep 60", timeout={"attemptDurationSeconds": 1},
                        retryStrategy={"attempts": 3})  # fmt: skip
    job = finished(aws, submit(aws, queue, definition))
    assert (job["status"], job["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
    assert codes(job) == [137]


def test_a_job_out_of_memory_says_so(aws, queue):
    """A job that is killed has exit code 137 and the reason that ECS gives."""
    job = finished(aws, submit(aws, queue, define(aws, "kill -9 $$")))
    assert codes(job) == [137]
    assert job["container"]["reason"].startswith("OutOfMemoryError")


def test_an_unmapped_image_cannot_be_pulled(aws, queue):
    """An image that nobody mapped fails as one that is not there; a program that is not there as one too."""
    job = finished(aws, submit(aws, queue, define(aws, "true", image="elsewhere:1")))
    assert job["status"] == "FAILED"
    assert job["container"]["reason"].startswith("CannotPullContainerError:")
    job = finished(aws, submit(aws, queue, define(aws, "no-such-program", image="plain:1")))
    assert job["container"]["reason"].startswith("CannotStartContainerError:")


def test_what_a_job_leaves_running_ends_with_it(aws, queue):
    """A process in the job's background goes when its command ends, as with a container."""
    job = finished(aws, submit(aws, queue, define(aws, "sleep 300 > /dev/null 2>&1 & echo $!")))
    (process,) = log(aws, job)
    eventually(lambda: not is_alive(int(process)), 5)


def test_a_log_group_has_to_be_there(aws, queue):
    """Lines go to the group and prefix of the definition; without the group the job does not start."""
    options = {"awslogs-group": named("/geodl"), "awslogs-stream-prefix": "infer"}
    container = {"logConfiguration": {"logDriver": "awslogs", "options": options}}
    definition = define(aws, "echo a line", container=container)
    assert "ResourceInitializationError" in finished(aws, submit(aws, queue, definition))["container"]["reason"]
    aws.logs.create_log_group(logGroupName=options["awslogs-group"])
    job = finished(aws, submit(aws, queue, definition))
    assert log(aws, job, options["awslogs-group"]) == ["a line"]
    assert job["container"]["logStreamName"].startswith("infer/default/")


def test_an_array_has_a_child_an_index(aws, queue, tmp_path):
    """Every index runs once; the parent counts how the children ended."""
    command = f'touch {tmp_path}/$AWS_BATCH_JOB_ARRAY_INDEX; [ "$AWS_BATCH_JOB_ARRAY_INDEX" != 1 ]'
    parent = finished(aws, submit(aws, queue, define(aws, command), arrayProperties={"size": 3}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]
    assert (parent["status"], parent["arrayProperties"]["statusSummary"]) == ("FAILED", {"SUCCEEDED": 2, "FAILED": 1})


def test_a_job_waits_for_those_that_it_depends_on(aws, queue, tmp_path):
    """It starts after them, and fails when one of them fails."""
    first = submit(aws, queue, define(aws, f"sleep 0.3; touch {tmp_path}/first"))
    second = define(aws, f"ls {tmp_path}/first")
    assert finished(aws, submit(aws, queue, second, dependsOn=[{"jobId": first}]))["status"] == "SUCCEEDED"
    failing = submit(aws, queue, define(aws, "exit 1"))
    job = finished(aws, submit(aws, queue, second, dependsOn=[{"jobId": failing}]))
    assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "Dependent Job failed", [])


def test_gpu_slots_are_lent_by_priority(aws, environment, queue, tmp_path):
    """With two slots never more than two run; a better queue's jobs overtake those that wait."""
    urgent = make_job_queue(aws, environment, priority=9)
    command = f"echo start $AWS_BATCH_JQ_NAME >> {tmp_path}/log; sleep 0.3; echo end >> {tmp_path}/log"
    definition = define(aws, command)
    jobs = [submit(aws, queue, definition) for _ in range(4)] + [submit(aws, urgent, definition) for _ in range(2)]
    for job in jobs:
        finished(aws, job)
    lines = (tmp_path / "log").read_text().splitlines()
    names = [line.split()[1] for line in lines if line != "end"]
    most = max(sum(1 if line != "end" else -1 for line in lines[:upto]) for upto in range(len(lines) + 1))
    assert (most, names) == (2, [queue.split("/")[1]] * 2 + [urgent.split("/")[1]] * 2 + [queue.split("/")[1]] * 2)


def test_a_fair_queue_takes_the_urgent_jobs_of_a_share_first(aws, environment, tmp_path):
    """In a queue with a scheduling policy a job's own priority counts within its share."""
    shares = {"shareDistribution": [{"shareIdentifier": "s", "weightFactor": 1.0}]}
    policy = aws.batch.create_scheduling_policy(name=named("fair"), fairsharePolicy=shares)["arn"]
    queue = make_job_queue(aws, environment, schedulingPolicyArn=policy)
    definition = define(aws, f"echo $PRIORITY >> {tmp_path}/log; sleep 0.3", schedulingPriority=1)
    jobs = []
    for priority in (1, 1, 1, 1, 7, 9):
        variables = {"environment": [{"name": "PRIORITY", "value": str(priority)}]}
        more = {} if priority == 1 else {"schedulingPriorityOverride": priority}
        jobs.append(submit(aws, queue, definition, shareIdentifier="s", containerOverrides=variables, **more))
    for job in jobs:
        finished(aws, job)
    lines = (tmp_path / "log").read_text().split()
    assert (lines[:2], sorted(lines[2:4]), lines[4:]) == (["1", "1"], ["7", "9"], ["1", "1"])


def test_a_job_is_terminated_or_cancelled(aws, queue):
    """TerminateJob stops a running job with its reason; CancelJob drops one that waits and lets one run that runs."""
    definition = define(aws, "sleep 60", retryStrategy={"attempts": 3})
    jobs = [submit(aws, queue, definition) for _ in range(3)]
    for job in jobs[:2]:
        running(aws, job)
    for job in (jobs[0], jobs[2]):
        aws.batch.cancel_job(jobId=job, reason="changed my mind")
    assert describe(aws, jobs[0])["status"] == "RUNNING"
    assert (describe(aws, jobs[2])["status"], describe(aws, jobs[2])["attempts"]) == ("FAILED", [])
    for job in jobs[:2]:
        aws.batch.terminate_job(jobId=job, reason="enough")
    ends = [finished(aws, job) for job in jobs[:2]]
    assert [(job["status"], job["statusReason"], len(job["attempts"])) for job in ends] == [("FAILED", "enough", 1)] * 2


@pytest.mark.parametrize("is_mapped", [False, True])
def test_a_stopped_execution_takes_its_job_along(aws, role, queue, is_mapped):
    """Stopping the execution, or its task's time-out, terminates the job that it or a child of its map waits for."""
    given = {"JobName": "j", "JobQueue": queue, "JobDefinition": define(aws, "sleep 60")}
    definition = task("arn:aws:states:::batch:submitJob.sync", Parameters=given)
    if is_mapped:
        processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, **definition}
        items = {"ItemSelector": {}, "ItemsPath": "$.items"}
        state = {"Type": "Map", "ItemProcessor": processor, **items, "End": True}
        definition = {"StartAt": "M", "States": {"M": state}}
    machine = make_machine(aws, definition, role)
    execution = aws.stepfunctions.start_execution(stateMachineArn=machine, input='{"items": [1]}')["executionArn"]

    def mine():
        listed = aws.batch.list_jobs(jobQueue=queue, jobStatus="RUNNING")["jobSummaryList"]
        return [one["jobId"] for one in listed]

    (job,) = eventually(mine)
    aws.stepfunctions.stop_execution(executionArn=execution)
    assert finished(aws, job)["statusReason"] == "Terminated by Step Functions"
    if is_mapped:
        return
    definition["States"]["T"].update(
        TimeoutSeconds=1, Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "On"}], Next="On"
    )
    del definition["States"]["T"]["End"]
    definition["States"]["On"] = {"Type": "Wait", "Seconds": 60, "End": True}
    execution = aws.stepfunctions.start_execution(stateMachineArn=make_machine(aws, definition, role))["executionArn"]
    (job,) = eventually(mine)
    assert finished(aws, job)["statusReason"] == "Terminated by Step Functions"
    assert aws.stepfunctions.describe_execution(executionArn=execution)["status"] == "RUNNING"
    aws.stepfunctions.stop_execution(executionArn=execution)


def test_a_definition_of_the_managed_shape_runs(aws, queue):
    """A job definition of ecsProperties runs its one container and is described in that form."""
    worker = {"name": "worker", "image": "geodl:1", "command": ["Ref::what"], "resourceRequirements": ONE_GPU}
    made = aws.batch.register_job_definition(
        jobDefinitionName=named("managed"),
        type="container",
        parameters={"what": "exit 5"},
        ecsProperties={"taskProperties": [{"taskRoleArn": make_role(aws), "containers": [worker]}]},
    )
    job = finished(aws, submit(aws, queue, made["jobDefinitionArn"]))
    (container,) = job["ecsProperties"]["taskProperties"][0]["containers"]
    assert (job["status"], container["exitCode"], "container" in job) == ("FAILED", 5, False)


def test_requests_that_aws_refuses_are_refused(aws, queue):
    """Wrong names, patterns and sizes, and what the emulator does not know, are errors and not ignored."""
    definition = define(aws, "true")
    condition = {"onReason": "*pull*", "action": "RETRY"}
    for call in (
        lambda: define(aws, "true", retryStrategy={"attempts": 11}),
        lambda: define(aws, "true", retryStrategy={"attempts": 2, "evaluateOnExit": [condition]}),
        lambda: aws.batch.submit_job(jobName="a name", jobQueue=queue, jobDefinition=definition),
        lambda: submit(aws, queue, "no-such-definition"),
        lambda: submit(aws, "no-such-queue", definition),
        lambda: submit(aws, queue, definition, arrayProperties={"size": 1}),
        lambda: submit(aws, queue, definition, parameters={"p": "x" * 31_000}),
        lambda: submit(aws, queue, definition, dependsOn=[{"type": "SEQUENTIAL"}]),
    ):
        with pytest.raises(ClientError, match="ClientException"):
            call()
