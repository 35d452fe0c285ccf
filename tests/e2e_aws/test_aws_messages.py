"""On AWS, messages as they come: twice, out of order, broken. Each scene is run once, and bad ones harm no others."""

import json
import random

import pytest

from deployed import SCENES, eventually, executions, geodl, publish
from incidents import ended_run, jobs, messages, queue_attributes, results_of, run_of, said, send, states

pytestmark = [pytest.mark.aws, pytest.mark.postgres, pytest.mark.xdist_group("aws-hurt")]
COPIES = 50
POISON = ("this is no JSON", "[" * 100_000, json.dumps({"hello": "world"}))


def drained(stack):
    """Wait until no message is left to be looked at."""
    eventually(lambda: messages(stack, "IngestQueue") == 0, 60, lambda: str(messages(stack, "IngestQueue")))


def executions_of(stack, run):
    return [one["name"] for one in executions(stack) if one["name"].startswith(run["id"])]


def test_the_same_scene_fifty_times_is_one_run(hurt, meadow):
    """Copies in any order, their keys too, by topic and queue, also when all is over: one execution, one result."""
    chance = random.Random(8)
    scenes = ["copied"] * COPIES + ["copied-too"] * (COPIES // 5)
    chance.shuffle(scenes)
    for number, name in enumerate(scenes):
        item = meadow(name)
        copy = {key: item[key] for key in chance.sample(sorted(item), len(item))}
        publish(hurt, copy) if number % 2 else send(hurt, json.dumps(copy))
    found = {name: ended_run(hurt, name) for name in ("copied", "copied-too")}
    publish(hurt, meadow("copied"))
    drained(hurt)
    for name, run in found.items():
        assert states(hurt, run) == ["queued", "claimed", "running", "succeeded"]
        assert executions_of(hurt, run) == [f"{run['id']}-1"]
        assert [len(job["attempts"]) for job in jobs(hurt, run)] == [1]
        assert [one["id"] for one in results_of(hurt, name)] == [run["result"]["id"]]
    assert messages(hurt, "IngestDeadLetters") == 0


def test_bad_messages_wait_for_a_person_and_harm_no_others(hurt, meadow):
    """After three times they are dead letters; scenes beside them are run, and replaying them serves when it can."""
    address = f"{hurt.emulator.endpoint}/{SCENES}/forthcoming/item.json"
    with queue_attributes(hurt, VisibilityTimeout="1"):
        for number, bad in enumerate((*POISON, json.dumps({"href": address}))):
            send(hurt, bad)
            publish(hurt, meadow(f"neighbour-{number}"))
        for number in range(len(POISON) + 1):
            assert ended_run(hurt, f"neighbour-{number}")["state"] == "succeeded"
        eventually(lambda: messages(hurt, "IngestDeadLetters") == len(POISON) + 1, 60)
        drained(hurt)
        told = geodl(hurt, "aws", "replay-dlq", "--dry-run")
        assert said(told, "4 dead letters there", "3 of them will fail again as they are", address, "JSON")
        assert run_of(hurt, "forthcoming") is None
        body = json.dumps(meadow("forthcoming")).encode()
        hurt.client("s3").put_object(Bucket=SCENES, Key="forthcoming/item.json", Body=body)
        assert said(geodl(hurt, "aws", "replay-dlq"), "4 dead letters sent again")
        assert ended_run(hurt, "forthcoming")["state"] == "succeeded"
        eventually(lambda: messages(hurt, "IngestDeadLetters") == len(POISON), 60)
        drained(hurt)
    assert said(geodl(hurt, "aws", "replay-dlq", "--purge", "--yes"), "3 dead letters deleted")
    assert messages(hurt, "IngestDeadLetters") == 0
