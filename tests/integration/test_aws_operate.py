"""`geodl aws`: a deployment looked at and operated from a command line."""

import hashlib
import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cloud import client
from commands import geodl_here
from geodl_core.aws.ledger.found_runs import find_run
from geodl_core.aws.ledger.ledger import cloud_history, move_run, read_run
from geodl_core.aws.operate import dead_letters, run_lines, token_secret
from geodl_core.aws.operate.dead_letters import letters_of, replay
from geodl_core.aws.operate.overview import LONG_S, STUCK_S, find_stuck, read_alarms
from geodl_core.aws.operate.token_secret import add_secret_token
from geodl_core.aws.site.executions import execution_arn
from geodl_core.aws.site.secrets import find_known_token, read_tokens
from geodl_core.aws.site.stack import read_stack
from geodl_core.aws.steps.fail_stage import fail_stage
from geodl_core.aws.steps.ingest import take_order
from geodl_core.domain.run.order import Order
from stacks import stack_of

METRICS = {"durationMs": 1500, "memorySizeMB": 512, "maxMemoryUsedMB": 96}
FUNCTIONS, BATCH = "/aws/lambda/geodl-", "/geodl/batch"
PROBLEM = {
    "errorType": "DataError",
    "errorMessage": "https://h/a.tif: block 3,4 cannot be decoded",
    "requestId": "call-7",
}


def item(name="scene"):
    image = {"href": "https://h/a.tif"}
    parts = {"properties": {}, "assets": {"image": image}}
    return {"type": "Feature", "stac_version": "1.1.0", "id": name, "collection": "scenes", **parts}


@pytest.fixture
def operated(cloud, monkeypatch):
    """A deployment that its stack's name leads to, with the clock that people have."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(dead_letters, "WAIT_S", 0)
    dead = client("sqs").create_queue(QueueName=f"{cloud.table}-dead")["QueueUrl"]
    secret = client("secretsmanager").create_secret(Name=f"{cloud.table}-tokens", SecretString="[]")["ARN"]
    logs = {"FunctionLogs": f"{FUNCTIONS}{cloud.table}-", "BatchLogs": f"{BATCH}/{cloud.table}"}
    api = {"StacApi": "https://api.example.com/"}
    name = stack_of(cloud, IngestDeadLetters=dead, TokensSecret=secret, **logs, **api)
    monkeypatch.setenv("GEODL_STACK", name)
    deployment = replace(cloud.deployment, ledger=replace(cloud.ledger, clock=time.time))
    return SimpleNamespace(
        cloud=cloud, deployment=deployment, ledger=deployment.ledger, dead=dead, secret=secret, stack=read_stack(name)
    )


def ordered(operated, name="scene", watch="fields"):
    return take_order(operated.deployment, Order(item(name), "water@0123456789abcdef", watch=watch), None).run_id


def failed(operated, name="scene", watch="fields"):
    run_id = ordered(operated, name, watch)
    caught = {"Error": "DataError", "Cause": json.dumps(PROBLEM)}
    fail_stage(operated.ledger, {"run_id": run_id, "attempt": 1, "error": caught})
    return run_id


def test_status_tells_of_runs_queues_and_failures(operated):
    """Without a run: how many are in each state, what is in the queues, and why runs failed in the last day."""
    first = ordered(operated, "a")
    run_id = failed(operated, "b")
    client("sqs").send_message(QueueUrl=operated.dead, MessageBody="no json")
    done = geodl_here("aws", "status")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"stack    {operated.stack.name}, CREATE_COMPLETE",
        "runs     1 claimed, 1 failed",
        f"  {run_id[:8]}  b  failed",
        f"  {first[:8]}  a  claimed",
        "queue    0 messages, 0 in work",
        "dead     1 letter, 0 in work",
        "jobs     none",
        "failed   1 in the last day",
        f"  {run_id[:8]}  b  DataError: https://h/a.tif: block 3,4 cannot be decoded",
    ]


def test_status_is_told_to_machines(operated):
    """--json gives the same as one JSON document."""
    run_id = failed(operated)
    told = json.loads(geodl_here("aws", "status", "--json").stdout)
    assert told["runs"]["failed"] == told["failed_count"] == 1
    assert told["failed"][0]["id"] == run_id
    assert told["queues"]["dead letters"] == {"waiting": 0, "in_work": 0}
    one = json.loads(geodl_here("aws", "status", run_id[:8], "--json").stdout)
    assert one["error"] == {"class": "DataError", "message": PROBLEM["errorMessage"]}
    assert [line["state"] for line in one["history"]] == ["queued", "claimed", "failed"]
    assert one["execution"]["status"] == "RUNNING"


def test_one_part_that_is_refused_does_not_hide_the_others(operated, monkeypatch):
    """Where a queue is gone, or may not be read, the rest is told and that is noted."""
    client("sqs").delete_queue(QueueUrl=operated.dead)
    failed(operated)
    done = geodl_here("aws", "status")
    assert done.returncode == 0
    assert "failed   1 in the last day" in done.stdout
    assert "note: queues cannot be told: queue dead letters: AWS answers" in done.stdout


def test_a_run_is_told_of_by_the_beginning_of_its_id(operated):
    """With a run: its facts, history, execution, the cause of its end, and where its result is seen."""
    run_id = ordered(operated)
    move_run(operated.ledger, run_id, "running", "planned: 4 tiles in 2 shards", job_id="a" * 64, shards=2, tiles=4)
    move_run(operated.ledger, run_id, "succeeded", "registered", result={"collection": "geodl-water", "id": "x y"})
    told = geodl_here("aws", "status", run_id[:8]).stdout
    assert f"run       {run_id}\nstate     succeeded, attempt 1\nitem      scenes/scene\n" in told
    assert "shards    2, 4 tiles" in told
    assert "result    https://api.example.com/collections/geodl-water/items/x%20y\n" in told
    arn = execution_arn(operated.deployment.machine, f"{run_id}-1")
    assert f"/states/home?region=us-east-1#/v2/executions/details/{arn}\n" in told


def test_an_execution_that_was_stopped_says_so(operated):
    """A run whose execution ended untold shows what Step Functions knows of it."""
    run_id = ordered(operated)
    arn = execution_arn(operated.deployment.machine, f"{run_id}-1")
    operated.deployment.states.stop_execution(executionArn=arn, error="Cancelled", cause="by hand")
    told = geodl_here("aws", "status", run_id).stdout
    assert "executed  aborted" in told
    assert "failed in" in told


@pytest.mark.parametrize("text", ["12345678", "f" * 64])
def test_a_run_that_there_is_not_is_named(operated, text):
    """An unknown id is an error that repeats it."""
    done = geodl_here("aws", "status", text)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"error: no run {text}")


@pytest.mark.parametrize("text", ["1234567", "nothexad", "../../../x"])
def test_what_is_no_id_is_not_looked_for(operated, text):
    """Less than 8 characters, or others than an id has, are refused."""
    assert geodl_here("aws", "status", text).stderr.startswith(f"error: run {text!r}: expected its id")


def test_runs_are_found_in_every_state_and_page(operated):
    """The beginning of an id leads to its run in whatever state it is."""
    ids = [ordered(operated, f"scene-{number}") for number in range(12)]
    move_run(operated.ledger, ids[0], "cancelled", "cancelled")
    for run_id in ids:
        assert find_run(operated.ledger, run_id[:10]).id == run_id


def test_runs_that_hang_are_told_from_those_that_work(operated):
    """A due run that nobody starts, one without execution, one that computes for hours are named, and no other."""
    cloud = operated.cloud
    deployment, ledger = cloud.deployment, cloud.ledger
    works = take_order(deployment, Order(item("works"), "water@1"), None).run_id
    lost = take_order(deployment, Order(item("lost"), "water@1"), None).run_id
    deployment.states.stop_execution(executionArn=execution_arn(deployment.machine, f"{lost}-1"))
    waits = take_order(deployment, Order(item("waits"), "water@1"), None).run_id
    move_run(ledger, waits, "queued", "queued again")
    cloud.clock.now += STUCK_S + 60
    assert {one.run.id: one.why for one in find_stuck(deployment)} == {
        waits: "it is due, and was not started",
        lost: "no execution of it runs",
    }
    cloud.clock.now += LONG_S
    assert {one.run.id for one in find_stuck(deployment)} == {works, lost, waits}


def test_alarms_are_those_of_the_stack_alone(operated):
    """A stack whose name begins with that of another has alarms of its own."""
    name, watch = operated.stack.name, client("cloudwatch")
    for begin in (name, f"{name}-prod", f"{name}-2"):
        usual = {"Namespace": "AWS/SQS", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1}
        more = {"Threshold": 0, "ComparisonOperator": "GreaterThanThreshold"}
        watch.put_metric_alarm(AlarmName=f"{begin}-DeadLettersAlarm-1A2B3C4D5E6F", **usual, **more)
    assert [alarm.name for alarm in read_alarms(operated.stack)] == [f"{name}-DeadLettersAlarm-1A2B3C4D5E6F"]


def put_lines(group, stream, now_ms, *lines):
    logs = client("logs")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    events = [{"timestamp": now_ms + at, "message": text} for at, text in lines]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def test_logs_are_those_of_the_run_in_order_of_time(operated):
    """Lines of several functions that name the run come in order of time; those of other runs do not come."""
    run_id = failed(operated)
    prefix, now_ms = operated.stack.function_logs, int(time.time() * 1000)
    told = {"level": "ERROR", "message": "run ended", "run_id": run_id, "state": "failed", "cause": "so?sig=secret"}
    put_lines(f"{prefix}fail", "a", now_ms, (20, json.dumps(told)))
    put_lines(
        f"{prefix}plan",
        "a",
        now_ms,
        (10, json.dumps({"level": "INFO", "message": "planned", "correlation_id": run_id})),
        (11, json.dumps({"level": "INFO", "message": "another", "correlation_id": "0" * 64})),
        (12, json.dumps({"type": "platform.report", "record": {"requestId": run_id, "metrics": METRICS}})),
    )
    done = geodl_here("aws", "logs", run_id[:8])
    lines = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines()]
    assert lines == [
        "plan         planned",
        "plan         took 1.5 s, 96 of 512 MB",
        "fail         error: run ended; state: failed; cause: so",
    ]
    only = geodl_here("aws", "logs", run_id[:8], "--stage", "plan", "--json").stdout
    assert [json.loads(line)["text"] for line in only.splitlines()] == ["planned", "took 1.5 s, 96 of 512 MB"]


def test_lines_without_ids_are_told_apart(operated, monkeypatch):
    """Where events have no id of their own all lines are printed, each once."""
    run_id = failed(operated)
    lines = [(at, json.dumps({"message": f"step {at}", "run_id": run_id})) for at in range(3)]
    put_lines(f"{operated.stack.function_logs}plan", "a", int(time.time() * 1000), *lines)
    events = run_lines._events

    def without_ids(*asked):
        for event in events(*asked):
            yield {name: value for name, value in event.items() if name != "eventId"}

    monkeypatch.setattr(run_lines, "_events", without_ids)
    done = geodl_here("aws", "logs", run_id[:8])
    assert (done.returncode, [line[-6:] for line in done.stdout.splitlines()]) == (0, ["step 0", "step 1", "step 2"])


def test_a_run_without_lines_says_why(operated):
    """Nothing to print is said, with what it may come from."""
    done = geodl_here("aws", "logs", ordered(operated))
    assert done.returncode == 2
    assert "there are no lines" in done.stderr
    assert geodl_here("aws", "logs", "0" * 8, "--shard", "1", "--stage", "plan").returncode == 2


def test_a_shard_that_a_run_has_not_is_told(operated):
    """How many shards there are is said, once the run was planned."""
    run_id = ordered(operated)
    move_run(operated.ledger, run_id, "claimed", "started")
    move_run(operated.ledger, run_id, "running", "planned", shards=1, tiles=9)
    done = geodl_here("aws", "logs", run_id, "--shard", "1")
    assert (done.returncode, "--shard 1: the run has 1 shard\n" in done.stderr) == (2, True)


def test_retry_starts_the_next_attempt(operated):
    """A failed run is queued and started as its next attempt; one that has not ended is refused."""
    run_id = failed(operated)
    done = geodl_here("aws", "retry", run_id[:8])
    assert (done.returncode, done.stdout) == (0, f"started    {run_id[:8]}  scene  water@0123456789abcdef, attempt 2\n")
    assert set(operated.cloud.executions()) == {f"{run_id}-1", f"{run_id}-2"}
    again = geodl_here("aws", "retry", run_id)
    assert again.returncode == 2
    assert f"error: run {run_id[:8]}: expected one that failed, found it claimed" in again.stderr


def test_all_that_failed_are_retried_by_watch(operated):
    """--failed means what failed, of one watch and since a time if told; invalid runs and others stay."""
    mine = [failed(operated, f"a{number}", "fields") for number in range(3)]
    other = failed(operated, "b", "roads")
    done = geodl_here("aws", "retry", "--failed", "--watch", "fields", "--since", "1h")
    assert done.stdout.splitlines()[-1] == "3 of 3 runs are tried again"
    assert {read_run(operated.ledger, run_id).attempt for run_id in mine} == {2}
    assert read_run(operated.ledger, other).state == "failed"
    assert geodl_here("aws", "retry", "--failed", "--since", "2099-01-01").stdout == "no runs to retry\n"


def test_retry_wants_to_know_what(operated):
    """Ids and --failed exclude one another, and one of them is needed."""
    for words in ((), ("12345678", "--failed"), ("12345678", "--watch", "w")):
        assert geodl_here("aws", "retry", *words).returncode == 2


def send_dead(operated, *bodies):
    for body in bodies:
        client("sqs").send_message(
            QueueUrl=operated.dead, MessageBody=body if isinstance(body, str) else json.dumps(body)
        )


def depth(url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return tuple(int(told[name]) for name in names)


def test_dead_letters_are_shown_with_their_reasons(operated):
    """Each letter says why it failed; looking leaves all where they are, for the next who looks."""
    part = {"type": "Feature", "id": "part"}
    send_dead(operated, "no json", item("fine"), part, {"href": "https://me:word@h/item.json?sig=secret"})
    for _ in range(2):
        done = geodl_here("aws", "replay-dlq", "--dry-run")
        assert done.returncode == 0
        reasons = [line.split(maxsplit=3)[3] for line in done.stdout.splitlines()[:4]]
        assert sorted(reasons) == [
            "an Item at https://h/item.json, that could not be read",
            "expected JSON as text, found text that is none",
            "part: expected a STAC Item, found a Feature without properties, assets, stac_version",
            "scenes/fine: nothing is wrong with it now, and no watch wants it",
        ]
        assert done.stdout.splitlines()[4] == "4 dead letters there"
    assert depth(operated.dead) == (4, 0)
    assert depth(operated.cloud.queue) == (0, 0)


def test_what_a_message_said_is_shown_without_its_envelope(operated):
    """Of a letter that will fail again its own beginning is shown, also where a topic has wrapped it."""
    send_dead(operated, json.dumps({"Type": "Notification", "MessageId": "m", "Message": "no\njson"}), "[1")
    done = geodl_here("aws", "replay-dlq", "--dry-run")
    assert sorted(line.strip() for line in done.stderr.splitlines()) == ["[1", "no json"]


def test_dead_letters_are_replayed_as_they_were(operated):
    """What is replayed is in the queue, letter for letter, and no longer among the dead; a limit holds."""
    bodies = [json.dumps(item(f"scene-{number}")) for number in range(12)]
    send_dead(operated, *bodies)
    assert geodl_here("aws", "replay-dlq", "--limit", "2").stdout.endswith("2 dead letters sent again\n")
    assert (depth(operated.dead), depth(operated.cloud.queue)) == ((10, 0), (2, 0))
    assert geodl_here("aws", "replay-dlq").stdout.endswith("10 dead letters sent again\n")
    assert sorted(map(json.dumps, operated.cloud.received())) == sorted(bodies)
    assert geodl_here("aws", "replay-dlq").stdout == "0 dead letters sent again\n"


def test_a_crash_between_sending_and_deleting_loses_no_letter(operated, monkeypatch):
    """A letter that was sent and not deleted is in both queues: never in none."""
    send_dead(operated, item())
    letter = next(letters_of(operated.stack, None))

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(dead_letters, "delete", crash)
    with pytest.raises(KeyboardInterrupt):
        replay(operated.stack, letter)
    assert (sum(depth(operated.dead)), sum(depth(operated.cloud.queue))) == (1, 1)


def test_letters_that_come_meanwhile_are_left(operated, monkeypatch):
    """What is replayed and fails again at once does not come round for ever."""
    send_dead(operated, item())
    monkeypatch.setattr(dead_letters, "time", SimpleNamespace(time=lambda: time.time() - 60))
    assert list(letters_of(operated.stack, None)) == []
    assert depth(operated.dead) == (1, 0)


def test_dead_letters_are_deleted_on_demand(operated):
    """--purge deletes what it shows, no more than the limit, and sends nothing."""
    send_dead(operated, "a", "b", "c")
    done = geodl_here("aws", "replay-dlq", "--purge", "--limit", "2", "--yes")
    assert done.stdout.endswith("2 dead letters deleted\n")
    assert (depth(operated.dead), depth(operated.cloud.queue)) == ((1, 0), (0, 0))
    assert geodl_here("aws", "replay-dlq", "--purge", "--dry-run").returncode == 2


def secret_text(operated):
    told = client("secretsmanager").get_secret_value(SecretId=operated.secret, VersionStage="AWSCURRENT")
    return told["SecretString"]


def test_a_token_is_shown_once_and_known_by_its_hash(operated):
    """The token that is printed opens what it is for; the secret has its hash, and not itself."""
    done = geodl_here("aws", "token", "field-office", "--scope", "publish")
    text = done.stdout.strip()
    assert text.startswith("gdl_")
    kept = secret_text(operated)
    assert text not in kept
    assert hashlib.sha256(text.encode()).hexdigest() in kept
    assert find_known_token(read_tokens(kept), text).scopes == ("publish",)
    assert geodl_here("aws", "token", "--list").stdout == "field-office  publish\n"
    assert geodl_here("aws", "token", "field-office", "--scope", "read").returncode == 2
    assert geodl_here("aws", "token", "--remove", "field-office").returncode == 0
    assert geodl_here("aws", "token", "--list").stdout == ""
    assert geodl_here("aws", "token", "--remove", "field-office").stderr.startswith("error: no token field-office")


def test_two_who_make_tokens_at_once_both_have_theirs(operated, monkeypatch):
    """A change that came in between is not written over: the secret is read again."""
    read, calls = token_secret._read, []

    def read_and_be_overtaken(manager, name):
        found = read(manager, name)
        calls.append(name)
        if len(calls) == 1:
            add_secret_token(operated.stack, "first", ("read",))
        return found

    monkeypatch.setattr(token_secret, "_read", read_and_be_overtaken)
    add_secret_token(operated.stack, "second", ("admin",))
    assert sorted(token.name for token in read_tokens(secret_text(operated))) == ["first", "second"]


@pytest.mark.parametrize("words", ["", "a --list", "a", "--list --scope read", "a --remove a"])
def test_a_token_s_options_go_together(operated, words):
    """One of a name, --list and --remove, and a scope with a name alone."""
    assert geodl_here("aws", "token", *words.split()).returncode == 2
    assert geodl_here("aws", "token", " ", "--scope", "read").returncode == 2
    assert secret_text(operated) == "[]"


def test_history_grows_by_what_operators_do(operated):
    """What a retry did is in the run's history, for who comes after."""
    run_id = failed(operated)
    geodl_here("aws", "retry", run_id)
    assert [line["text"] for line in cloud_history(operated.ledger, run_id)][-2:] == ["retried", "execution started"]
