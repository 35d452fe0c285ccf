"""What scenes cost: by hand for one, and for a hundred thousand; and that counts are those of the state machines."""

import functools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from geodl_core.aws.cost import setup as setups
from geodl_core.aws.cost import standing
from geodl_core.aws.cost.cost import (
    BACKFILL_STATES,
    FIRST_STATES,
    LIST_STATES,
    SCENE_STATES,
    SHARD_STATES,
    Work,
    backfill_entries,
    cost_of,
    machine_usd,
    scene_entries,
    scene_states,
)
from geodl_core.aws.cost.outlook import used
from geodl_core.aws.cost.prices import read_prices
from geodl_core.aws.cost.schedule import Backfill, simulate
from geodl_core.aws.cost.setup import LISTED, Setup
from geodl_core.aws.steps.scan import CHUNK

ROOT = Path(__file__).parents[3]
PRICES = read_prices()
WORK = Work(2, 300.0, "raster", 10.0, result_bytes=40e6, files=4, model_bytes=100_000_000, item_bytes=30_000)
"""A scene in two jobs of five minutes, by a network of 100 MB; its result of 40 MB is kept for a year."""
SETUP = Setup(max_vcpus=256, max_on_demand_vcpus=0, scenes_at_once=128)
"""64 GPUs, all on Spot."""


def course(work=WORK, setup=SETUP, **more):
    asked = {"scenes": 1, "shards": work.shards, "job_s": work.job_s, "max_vcpus": setup.slots * setups.JOB_VCPUS}
    return simulate(Backfill(**{**asked, "boot_s": setup.boot_s, "keep_s": setup.keep_s, **more}))


def lines(work=WORK, setup=SETUP, is_alone=True):
    return cost_of(scene_entries(work, setup, course(work, setup), is_alone), PRICES).lines


def test_a_scene_alone_by_hand():
    """Each line is what a person counts from the architecture and the price list.

    messages: the Item's and the result's publication, 2 × 0.50 $ a million; each received and deleted, 4 × 0.40 $.
    functions: 5 calls (2 of ingest, plan, merge, register) at 0.20 $ a million. GB·s with 3 s until each begins: ingest
        0.5 × 3.6 = 1.8, plan 2 × 9 = 18, merge 2.9375 × 13 = 38.1875, register 1 × 6 = 6: 63.9875 at 16.6667 $ a
        million. Disk of the merge: 9.5 GB × 13 s = 123.5 at 0.0309 $ a million.
    state machine: 7 + 2 × 3 + 1 = 14 states at 25 $ a million.
    ledger: 15 reads at 0.125 $, 25 writes at 0.625 $ a million.
    bucket: order, models listed, plan, model, list, 2 parts, 4 files, merged, Item = 13 written; the model of 100 MB
        goes up in 12 parts (13 requests more), the result of 40 MB in 5 (6 more): 32 at 5 $ a million. Read: model's
        Item 1, by plan 5, for each part 5, by merge 3, by register 3 = 22 at 0.40 $ a million.
    machines: 2 × (240 s start + 300 s work + 1,200 s waiting) = 3,480 s at 0.8048 × 0.45 $ an hour.
    disks and addresses: 0.966667 h × (100 GB × 0.08 $ / 730 h + 0.005 $).
    database: 3 + 20 + 900 s at 0.12 $ an hour, its secret once at 5 $ a million.
    logs and traces: 26 kB at 0.50 $ a GB, 3 traces at 5 $ a million.
    stored: 0.04 GB × 12 months × 0.023 $; (0.1 GB × 21 days + 0.04 GB × 7 days) / 30.41667 × 0.023 $.
    """
    by_hand = {
        "messages": 1.0e-6 + 1.6e-6,
        "functions": 1.0e-6 + 63.9875 * 16.6667e-6 + 123.5 * 0.0309e-6,
        "state machine": 350e-6,
        "ledger": 1.875e-6 + 15.625e-6,
        "bucket": 160e-6 + 8.8e-6,
        "machines": 3_480 / 3_600 * 0.36216,
        "disks and addresses": 0.9666667 * (8 / 730 + 0.005),
        "database": 923 / 3_600 * 0.12 + 5e-6,
        "logs and traces": 13e-6 + 15e-6,
        "results stored": 0.01104,
        "plans and parts stored": 2.38 / 30.4166667 * 0.023,
    }
    assert lines() == pytest.approx(by_hand, rel=1e-6)
    assert list(lines()) == list(by_hand)
    assert sum(by_hand.values()) == pytest.approx(0.4108, abs=1e-4)


def test_a_scene_of_a_stream_by_hand():
    """It pays for 600 s of machines and 3 s of the database, and its functions begin at once.

    GB·s: ingest 0.5 × 0.6 = 0.3, plan 2 × 6 = 12, merge 2.9375 × 10 = 29.375, register 3: 44.675; disk 95.
    """
    by_hand = {
        "functions": 1.0e-6 + 44.675 * 16.6667e-6 + 95 * 0.0309e-6,
        "machines": 600 / 3_600 * 0.36216,
        "disks and addresses": 600 / 3_600 * (8 / 730 + 0.005),
        "database": 3 / 3_600 * 0.12 + 5e-6,
    }
    assert lines(is_alone=False) == pytest.approx({**lines(), **by_hand}, rel=1e-6)


def test_a_backfill_by_hand():
    """A hundred thousand scenes on 64 GPUs; of each line what a scene takes, times 100,000.

    messages: the result's, 0.5 + 2 × 0.4 $ a million. functions: 4 calls; 0.5 × 0.1 + 1 × 0.06 + 12 + 29.375 + 3 =
    44.485 GB·s; disk 95. state machine: 14 + 1 for the scene, and 6 for each of 20 lists. ledger: 14 reads, 25 writes.
    bucket: order, 3, 2 parts, 4 files, merged, Item = 12, and 19 of uploads in parts; read 21. logs and traces as ever.
    machines: 60 million s of work are 16,666.67 h, and up to 1.5 % more: first starts, waits for lists, last waits.
    database: while it lasts, 200,000 × 300 s / 64 = 260.4 h and up to 2 % more, and 100,000 looks for its secret.
    """
    wanted = course(scenes=100_000, scenes_at_once=128, list_s=300.0, finish_s=13.0)
    found = dict(cost_of(backfill_entries(WORK, SETUP, wanted), PRICES).lines)
    nearly = {
        "machines": (16_666.6667 * 0.36216, 0.015),
        "disks and addresses": (16_666.6667 * (8 / 730 + 0.005), 0.015),
        "database": (260.4 * 0.12 + 0.5, 0.02),
    }
    total = sum(found.values())
    for name, (least, share) in nearly.items():
        assert least <= found.pop(name) <= least * (1 + share), name
    by_hand = {
        "messages": 0.13,
        "functions": 0.08 + 4_448_500 * 16.6667e-6 + 9_500_000 * 0.0309e-6,
        "state machine": 37.5 + 0.003,
        "ledger": 0.175 + 1.5625,
        "bucket": 15.5 + 0.84,
        "logs and traces": 1.3 + 1.5,
        "results stored": 1_104.0,
        "plans and parts stored": 238_000 / 30.4166667 * 0.023,
    }
    assert found == pytest.approx(by_hand, rel=1e-6)
    assert total == pytest.approx(7_720, rel=0.02)


def test_machines_on_demand_by_hand():
    """Once Spot's 64 are busy Batch takes 4 more on demand: 4 of 68 are paid at 0.8048 $ an hour, and it ends sooner.

    16,666.67 h × (64 × 0.36216 + 4 × 0.8048) / 68 = 6,470 $, 7 % more; 200,000 × 300 s / 68 are 10.21 days.
    """
    setup = replace(SETUP, max_on_demand_vcpus=16)
    wanted = course(setup=setup, scenes=100_000, scenes_at_once=128, list_s=300.0, finish_s=13.0)
    found = cost_of(backfill_entries(WORK, setup, wanted), PRICES).lines["machines"]
    assert 6_470 <= found <= 6_470 * 1.015
    assert 10.21 <= wanted.seconds / 86_400 <= 10.21 * 1.02
    # A scene that finds room on Spot pays for no other; of 65 jobs one does not.
    assert lines(setup=setup) == lines()
    large = replace(WORK, shards=65)
    hours = course(large, setup).instance_s / 3_600
    by_hand = hours * (64 * 0.36216 + 0.8048) / 65
    assert lines(large, setup)["machines"] == pytest.approx(by_hand)
    # What is on demand anyway has one price.
    dear = replace(setup, is_spot=False)
    assert lines(large, dear)["machines"] == pytest.approx(hours * 0.8048)
    assert replace(setup, compute="fargate").slots == 64


def test_an_hour_of_a_machine_by_hand():
    """What a square kilometre is reckoned with: Spot's share, the whole price, four processors of Fargate."""
    for setup, usd in (
        (Setup(), 0.36216),
        (Setup(instance="g4dn.xlarge", is_spot=False), 0.526),
        (Setup(compute="fargate"), (4 * 0.04048 + 16 * 0.004445) * 0.3),
    ):
        assert machine_usd(setup, PRICES) == pytest.approx(usd)


def test_what_makes_it_dearer():
    """Each change adds to its own lines alone."""
    base = lines()

    def changed(work=WORK, setup=SETUP):
        other = lines(work, setup)
        return {name for name in {*base, *other} if abs(base.get(name, 0) - other.get(name, 0)) > 1e-12}

    assert changed(setup=replace(SETUP, is_spot=False)) == {"machines"}
    assert changed(setup=replace(SETUP, has_database=False)) == {"database"}
    assert changed(setup=replace(SETUP, kept_months=1.0)) == {"results stored"}
    assert changed(replace(WORK, item_bytes=150_000)) == {"messages"}
    assert changed(replace(WORK, merge="batch")) == {"functions", "merge job"}
    # Blocks of a scene are its owner's to pay, unless readers do.
    assert changed(replace(WORK, blocks=4_600)) == set()
    asked = [lines(replace(WORK, blocks=count), replace(SETUP, pays=True))["bucket"] for count in (0, 4_600)]
    assert asked[1] - asked[0] == pytest.approx(4_600 * 0.4e-6)


def test_fargate_by_hand():
    """On processors a job pays for its 4 vCPUs and 16 GB from its start to its end, and nothing waits."""
    setup = replace(SETUP, compute="fargate")
    work = replace(WORK, job_s=setup.occupied_s(300.0))
    hours = 2 * 360 / 3_600
    machines = hours * (4 * 0.04048 + 16 * 0.004445) * 0.3
    for is_alone in (True, False):
        found = lines(work, setup, is_alone)
        assert found["machines"] == pytest.approx(machines)
        assert found["disks and addresses"] == pytest.approx(hours * 0.005)


def test_a_merge_job_by_hand():
    """Ten minutes and its start on 4 vCPUs, 30 GB, and 180 GB of disk above what is free."""
    found = lines(replace(WORK, merge="batch", merge_s=600.0))["merge job"]
    assert found == pytest.approx(660 / 3_600 * (4 * 0.04048 + 30 * 0.004445 + 180 * 0.000111))


def test_standing_costs_by_hand():
    """A month of 730 hours: 29.20 $ of endpoints, 3.75 $ of a database that is woken now and then, and small things."""
    by_hand = {
        "messages": 900 * 730 * 0.4e-6,
        "functions": (21_900 + 730 / 6) * 0.2e-6 + 0.5 * (21_900 + 730 / 6 * 5) * 16.6667e-6,
        "ledger": 32_850 * 0.125e-6,
        "database": 730 / 6 * 925 / 3_600 * 0.12,
        "watching": 0.70 + 3.00 + 4.50,
        "secrets": 0.80,
        "network": 29.20,
    }
    assert cost_of(standing.standing_entries(Setup()), PRICES).lines == pytest.approx(by_hand)
    # With a proxy: 8 units of it, and half a unit of a database that never rests, at all times; one secret more.
    proxied = {**by_hand, "database": 730 * (8 * 0.015 + 0.5 * 0.12), "secrets": 1.20}
    assert cost_of(standing.standing_entries(Setup(has_proxy=True)), PRICES).lines == pytest.approx(proxied)
    without = cost_of(standing.standing_entries(Setup(has_database=False)), PRICES)
    assert without.total == pytest.approx(0.2628 + 0.19197 + 0.0041 + 8.2 + 0.4, abs=1e-3)


def test_a_database_that_never_rests_by_hand():
    """A scene finds it awake and leaves it so, and pays for the half unit that it asks for more."""
    found = lines(setup=replace(SETUP, has_proxy=True))["database"]
    assert found == pytest.approx(3 / 3_600 * 0.5 * 0.12 + 5e-6)


def test_all_that_is_counted_has_a_price():
    """Every priced thing of any setup is in the list."""
    for compute in ("gpu-ec2", "fargate"):
        for merge in ("raster", "batch"):
            work, setup = replace(WORK, merge=merge), replace(SETUP, compute=compute)
            assert set(used(scene_entries(work, setup, course(work, setup), is_alone=True))) <= set(PRICES.prices)


# ---- The counts of states are those of the machines' definitions -----------------------------------------------------


def definition(name):
    return yaml.safe_load((ROOT / "infra" / f"{name}.asl.yaml").read_text())


def holds(rule, state):
    """Say whether a Choice's rule holds for the data that a machine has."""
    if "And" in rule:
        return all(holds(one, state) for one in rule["And"])
    value = functools.reduce(lambda found, name: found[name], rule["Variable"].removeprefix("$.").split("."), state)
    test, wanted = next((key, rule[key]) for key in rule if key not in ("Variable", "Next"))
    return {
        "BooleanEquals": lambda: value is wanted,
        "StringEquals": lambda: value == wanted,
        "NumericEquals": lambda: value == wanted,
        "NumericGreaterThan": lambda: value > wanted,
    }[test]()


def entered(machine, data):
    """Return the states that an execution enters, if nothing fails: to its end, or until it begins anew."""
    names, name = [], machine["StartAt"]
    while True:
        names.append(name)
        state = machine["States"][name]
        if state["Type"] in ("Succeed", "Fail") or state.get("End"):
            return names
        if state["Type"] == "Choice":
            name = next((rule["Next"] for rule in state["Choices"] if holds(rule, data)), state["Default"])
        else:
            name = state["Next"]
        if name == machine["StartAt"]:
            return names


def child(machine, name):
    return machine["States"][name]["ItemProcessor"]


@pytest.mark.parametrize("merge", ["raster", "vector", "batch"])
@pytest.mark.parametrize("shards", [1, 12])
def test_a_scene_enters_as_many_states_as_are_counted(merge, shards):
    """Walked through for real, the machine and its children enter what the cost model pays for."""
    machine = definition("scene")
    parent = entered(machine, {"is_done": False, "is_merged": False, "is_empty": False, "merge": merge})
    first = {"attempt": 1, "job": {"tries": 1}}
    children = [entered(child(machine, "Shards"), {"n": n, **first}) for n in range(shards)]
    assert len(parent) == SCENE_STATES
    assert len(children[0]) == SHARD_STATES + FIRST_STATES
    assert all(len(names) == SHARD_STATES for names in children[1:])
    work = replace(WORK, shards=shards, merge=merge)
    assert len(parent) + sum(map(len, children)) == scene_states(work)
    assert used(scene_entries(work, SETUP, course(work), is_alone=True))["states_transition"] == scene_states(work)


@pytest.mark.parametrize(("attempt", "tries", "is_noted"), [(1, 1, True), (2, 1, False), (1, 2, False), (3, 4, False)])
def test_only_a_first_try_says_how_fast_a_model_is(attempt, tries, is_noted):
    """A job that is tried again, by Batch or with its run, may find its part there: its time is not the model's."""
    names = entered(child(definition("scene"), "Shards"), {"n": 0, "attempt": attempt, "job": {"tries": tries}})
    assert ("NoteRate" in names) is is_noted


def test_what_is_merged_is_registered_at_once():
    """Neither a shard nor a merge comes before the Item of what an earlier attempt has merged, empty or not."""
    for is_empty in (False, True):
        told = {"is_done": False, "is_merged": True, "is_empty": is_empty, "merge": "batch"}
        assert entered(definition("scene"), told) == ["Plan", "IsThere", "Register", "Done"]


def test_a_backfill_enters_as_many_states_as_are_counted():
    """Each scene one of its map, each list six of the machine's own."""
    machine = definition("backfill")
    assert len(entered(child(machine, "Scenes"), {})) == BACKFILL_STATES
    last, other = (entered(machine, {"count": 7, "is_done": is_done}) for is_done in (True, False))
    assert len(last) == len(other) == LIST_STATES
    assert machine["States"][last[-1]]["Type"] == "Succeed"
    assert machine["States"][other[-1]]["Next"] == machine["StartAt"]
    assert LISTED == CHUNK


# ---- The setup is that of the template -------------------------------------------------------------------------------


class Tagged(yaml.SafeLoader):
    """Reads a template, its functions as their arguments."""


def _plain(loader, _, node):
    kinds = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence}
    return kinds.get(type(node), loader.construct_mapping)(node)


Tagged.add_multi_constructor("!", _plain)


@pytest.fixture(scope="module")
def template():
    return yaml.load((ROOT / "template.yaml").read_text(), Loader=Tagged)  # a safe loader with tags as plain values


def test_the_setup_is_the_templates(template):
    """Sizes, limits and waits that the cost model assumes are those that are deployed."""
    resources, parameters = template["Resources"], template["Parameters"]
    defaults = {name: parameter.get("Default") for name, parameter in parameters.items()}
    usual = Setup()
    assert (usual.max_vcpus, usual.max_merge_vcpus) == (defaults["MaxGpuVcpus"], defaults["MaxCpuVcpus"])
    assert usual.max_on_demand_vcpus == defaults["MaxOnDemandVcpus"]
    assert (usual.shards_at_once, usual.scenes_at_once) == (
        defaults["MapConcurrency"],
        defaults["BackfillConcurrency"],
    )
    assert (usual.compute, usual.instance) == (defaults["ShardCompute"], defaults["GpuInstanceTypes"].split(",")[0])
    assert (usual.shard_s, usual.work_days) == (defaults["ShardSeconds"], defaults["WorkDays"])
    assert usual.scenes_at_once == setups.SCENES_A_JOB * usual.first_slots
    memory = {name: resources[name]["Properties"].get("MemorySize") for name in ("Ingest", "Plan", "Register", "Scan")}
    usually = template["Globals"]["Function"]["MemorySize"]
    for name, megabytes in memory.items():
        assert setups.FUNCTION_GB[name.lower()] == (megabytes or usually) / 1024
    assert setups.FUNCTION_GB["sweep"] == (resources["Sweep"]["Properties"].get("MemorySize") or usually) / 1024
    for name in ("MergeRaster", "MergeVector"):
        asked = resources[name]["Properties"]
        assert asked["MemorySize"] / 1024 == setups.FUNCTION_GB["merge"]
        assert asked["EphemeralStorage"]["Size"] / 1024 == setups.MERGE_DISK_GB


def test_the_machines_are_the_templates(template):
    """So are jobs, disks, and how long machines and the database wait."""
    resources = template["Resources"]
    for name, gigabytes in (("ShardJob", None), ("FargateShardJob", 16.0), ("MergeJob", 30.0)):
        asked = resources[name]["Properties"]["ContainerProperties"]["ResourceRequirements"]
        sizes = {entry["Type"]: float(entry["Value"]) for entry in asked}
        assert sizes["VCPU"] == setups.JOB_VCPUS
        assert gigabytes is None or sizes["MEMORY"] / 1024 == gigabytes
    assert (setups.FARGATE_JOB_GB, setups.MERGE_JOB_GB) == (16.0, 30.0)
    merge = resources["MergeJob"]["Properties"]["ContainerProperties"]
    assert merge["EphemeralStorage"]["SizeInGiB"] == setups.MERGE_JOB_DISK_GB
    computing = resources["SpotMachines"]["Properties"]["ComputeResources"]
    assert computing["ScalingPolicy"]["MinScaleDownDelayMinutes"] * 60 == setups.KEEP_S
    (disk,) = resources["Machine"]["Properties"]["LaunchTemplateData"]["BlockDeviceMappings"]
    assert disk["Ebs"]["VolumeSize"] == setups.INSTANCE_DISK_GB
    scaling = resources["Database"]["Properties"]["ServerlessV2ScalingConfiguration"]
    assert (scaling["MinCapacity"], scaling["SecondsUntilAutoPause"]) == (0, setups.PAUSE_S)


def test_what_stands_is_the_templates(template):
    """Alarms, endpoints, secrets and schedules are as many as the template has."""
    resources = template["Resources"]
    kinds = Counter(resource["Type"] for resource in resources.values())
    assert kinds["AWS::CloudWatch::Alarm"] == standing.ALARMS
    assert kinds["AWS::CloudWatch::Dashboard"] == standing.DASHBOARDS
    endpoints = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::EC2::VPCEndpoint"]
    paid = [one for one in endpoints if one["VpcEndpointType"] == "Interface"]
    assert len(paid) == standing.ENDPOINTS
    assert all(len(one["SubnetIds"]) == standing.ZONES for one in paid)
    secrets = {name: one for name, one in resources.items() if one["Type"] == "AWS::SecretsManager::Secret"}
    assert len([one for one in secrets.values() if "Condition" not in one]) == standing.SECRETS
    assert len([one for one in secrets.values() if one.get("Condition") == "MakesDatabase"]) == (
        standing.DATABASE_SECRETS
    )
    assert len([one for one in secrets.values() if one.get("Condition") == "MakesProxy"]) == standing.PROXY_SECRETS
    (often,) = [event for event in resources["Sweep"]["Properties"]["Events"].values() if event["Type"] == "Schedule"]
    assert often["Properties"]["Schedule"] == f"rate({60 // standing.SWEEPS_AN_HOUR} minutes)"
    assert (
        resources["Publish"]["Properties"]["Events"]["Seldom"]["Properties"]["Schedule"]
        == f"rate({standing.OUTBOX_HOURS} hours)"
    )
