"""The template, its state machines and the code name the same things."""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from geodl_core.aws.deploy.deploy import TAG, hour_usd
from geodl_core.catalog.pgstac.connections import SETTING
from geodl_core.errors import GeodlError, UnavailableError

ROOT = Path(__file__).parents[1]
MACHINES = sorted((ROOT / "infra").glob("*.asl.yaml"))
AWS_ERRORS = re.compile(
    r"States\.(ALL|Timeout)|Sandbox\.Timedout|Runtime\.(ExitError|OutOfMemory)|"
    r"Lambda\.(Unknown|\w+Exception)|Batch\.\w+Exception|StepFunctions\.\w+Exception"
)
"""What Lambda, Batch and Step Functions call their own errors: "Handling errors in Step Functions workflows"."""
LAMBDA, JOB = "arn:aws:states:::lambda:invoke", "arn:aws:states:::batch:submitJob.sync"


class Short(yaml.SafeLoader):
    """CloudFormation's YAML: `!Ref x` is {"Ref": x}."""


def _spelled(loader, tag, node):
    kind = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence}
    value = kind[type(node)](node, **({"deep": True} if isinstance(node, yaml.SequenceNode) else {}))
    return {"Ref" if tag == "Ref" else f"Fn::{tag}": value}


Short.add_multi_constructor("!", _spelled)
TEMPLATE = yaml.load((ROOT / "template.yaml").read_text(), Short)  # a SafeLoader
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
FUNCTIONS = {name: one["Properties"] for name, one in RESOURCES.items() if one["Type"] == "AWS::Serverless::Function"}
WEIGHTS = tomllib.loads((ROOT / "layers" / "functions.toml").read_text())


def states(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All states, those within maps too."""
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


def tasks(resource: str) -> list[Any]:
    return [
        pytest.param(state, id=f"{path.name.partition('.')[0]}-{name}")
        for path in MACHINES
        for name, state in states(yaml.safe_load(path.read_text()))
        if state.get("Resource") == resource
    ]


def named(state: dict[str, Any], kind: str) -> set[str]:
    return {name for one in state.get(kind, []) for name in one["ErrorEquals"]}


def family(kind: type[GeodlError]) -> set[str]:
    return {kind.__name__}.union(*(family(child) for child in kind.__subclasses__()))


def folder_of(properties: dict[str, Any]) -> str:
    """The folder of a function's code."""
    place = properties.get("CodeUri") or properties["ImageConfig"]["WorkingDirectory"]
    return str(place).rpartition("/")[2]


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.name)
def test_every_error_in_a_machine_exists(path):
    """A class that was renamed would never be caught again: names are of errors.py or of AWS."""
    known = family(GeodlError)
    for name, state in states(yaml.safe_load(path.read_text())):
        for error in named(state, "Retry") | named(state, "Catch"):
            assert error in known or AWS_ERRORS.fullmatch(error), (name, error)


@pytest.mark.parametrize("state", tasks(LAMBDA))
def test_functions_are_tried_again_for_all_that_passes_and_nothing_else(state):
    """Every transient class is among the retries of a function, and no permanent one."""
    retried = named(state, "Retry") & family(GeodlError)
    assert retried == family(UnavailableError)


@pytest.mark.parametrize("state", tasks(LAMBDA) + tasks(JOB))
def test_retries_spread_out(state):
    """Whoever is refused comes again later and later, each at another time, and not for ever."""
    for retry in state["Retry"]:
        assert retry["BackoffRate"] >= 1.5
        assert retry["JitterStrategy"] == "FULL"
        assert retry["MaxAttempts"] <= 12
        assert retry["MaxDelaySeconds"] <= 300


@pytest.mark.parametrize("name", ["MergeRaster", "MergeVector"])
def test_a_merge_that_a_function_has_no_room_for_becomes_a_job(name):
    """Too little time, memory or disk in a function is not the end of a run: a job of Batch merges."""
    state = yaml.safe_load((ROOT / "infra" / "scene.asl.yaml").read_text())["States"][name]
    first, other = state["Catch"]
    assert (first["Next"], other["Next"]) == ("MergeJob", "Failed")
    no_time, no_memory = {"Sandbox.Timedout", "Lambda.Unknown"}, {"Runtime.OutOfMemory", "OutOfMemoryError"}
    assert {*no_time, *no_memory, "StoreError"} <= set(first["ErrorEquals"])


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.name)
def test_machines_are_plain_yaml(path):
    """Without anchors and aliases, which CloudFormation does not read."""
    assert not [one for one in yaml.scan(path.read_text()) if isinstance(one, (yaml.AnchorToken, yaml.AliasToken))]


def test_the_template_is_plain_yaml():
    """Without anchors and aliases, which CloudFormation does not read."""
    tokens = yaml.scan((ROOT / "template.yaml").read_text())
    assert not [one for one in tokens if isinstance(one, (yaml.AnchorToken, yaml.AliasToken))]


def test_substitutions_are_those_that_machines_ask_for():
    """What a machine calls ${…} the template fills in, and nothing else."""
    machines = {
        one["Properties"]["DefinitionUri"]: set(one["Properties"]["DefinitionSubstitutions"])
        for one in RESOURCES.values()
        if one["Type"] == "AWS::Serverless::StateMachine"
    }
    assert {ROOT / name for name in machines} == set(MACHINES)
    for name, given in machines.items():
        assert set(re.findall(r"\$\{(\w+)\}", (ROOT / name).read_text())) == given


def test_every_function_has_a_folder():
    """Each folder of functions/ is deployed, and each handler is there."""
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
    assert {folder_of(one) for one in FUNCTIONS.values()} == folders
    for name in folders:
        tree = ast.parse((ROOT / "functions" / name / "app.py").read_text())
        assert "handler" in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}


def test_layers_are_those_that_were_weighed():
    """What the template gives a function is what layers/functions.toml lists, which the tests weigh and run."""
    layers = {name: str(one["Properties"]["ContentUri"]).rpartition("/")[2] for name, one in RESOURCES.items()
              if one["Type"] == "AWS::Serverless::LayerVersion"}  # fmt: skip
    for properties in FUNCTIONS.values():
        if "Layers" not in properties:
            continue
        given = re.findall(r"'Ref': '(\w+Layer)'", str(properties["Layers"]))
        listed = WEIGHTS["functions"][folder_of(properties)]["layers"]
        assert [layers[name] for name in given if layers[name] != "geodl"] == [one for one in listed if one != "geodl"]
        assert layers[given[-1]] == "geodl"
        assert len(given) <= WEIGHTS["most_layers"]
        assert properties["Runtime"] == f"python{WEIGHTS['python']}"


def test_variables_are_those_that_settings_read():
    """No GEODL_… in the template that settings.py does not know."""
    read = set(re.findall(r'"(GEODL_\w+)"', (ROOT / "geodl_core" / "settings.py").read_text()))
    given = set(re.findall(r"(?:Name: )?(GEODL_\w+)[:,]", (ROOT / "template.yaml").read_text()))
    assert given <= read, given - read


def test_jobs_are_repeated_for_the_exit_code_of_what_passes():
    """Spot, pulling and the transient exit code are tried again, all else is not; within what Batch allows."""
    jobs = [one["Properties"] for one in RESOURCES.values() if one["Type"] == "AWS::Batch::JobDefinition"]
    assert jobs
    for job in jobs:
        assert job["RetryStrategy"]["Attempts"] <= 10
        rules = job["RetryStrategy"]["EvaluateOnExit"]
        assert len(rules) <= 5
        again = [rule for rule in rules if rule["Action"] == "RETRY"]
        assert [rule["OnExitCode"] for rule in again if "OnExitCode" in rule] == [str(UnavailableError.exit_code)]
        assert rules[-1] == {"OnReason": "*", "Action": "EXIT"}


def test_a_message_is_not_seen_twice_at_once():
    """The queue hides a message for six times as long as its function may take, as Lambda's guide asks."""
    timeout = FUNCTIONS["Ingest"].get("Timeout", TEMPLATE["Globals"]["Function"]["Timeout"])
    assert RESOURCES["IngestQueue"]["Properties"]["VisibilityTimeout"] >= 6 * timeout
    assert RESOURCES["IngestQueue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"] == 3


def test_what_is_kept_outlives_what_names_it():
    """Large payloads stay as long as a message may wait; orders stay longer than plans."""
    (rule,) = (
        one for one in RESOURCES["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"] if one["Id"] == "large"
    )
    longest = RESOURCES["IngestDeadLetters"]["Properties"]["MessageRetentionPeriod"]
    assert rule["ExpirationInDays"] * 86_400 > longest
    assert TEMPLATE["Parameters"]["OrderDays"]["Default"] > TEMPLATE["Parameters"]["WorkDays"]["Default"]


def test_what_costs_carries_the_stack_s_tag():
    """What is billed says whose it is, whoever deploys; machines that Batch starts, too."""
    kinds = ("S3::Bucket", "DynamoDB::Table", "SQS::Queue", "SNS::Topic", "SecretsManager::Secret", "Logs::LogGroup",
             "CloudWatch::Alarm", "EC2::VPC", "EC2::VPCEndpoint", "EC2::SecurityGroup", "RDS::DBCluster",
             "RDS::DBInstance", "RDS::DBProxy", "Batch::JobQueue", "Batch::ComputeEnvironment", "Batch::JobDefinition",
             "Serverless::StateMachine")  # fmt: skip
    found = [(name, one) for name, one in RESOURCES.items() if one["Type"].removeprefix("AWS::") in kinds]
    assert {one["Type"].removeprefix("AWS::") for _, one in found} == set(kinds)
    for name, one in found:
        assert TAG in json.dumps(one["Properties"].get("Tags")), name
    for kind in ("Function", "HttpApi"):
        assert TAG in TEMPLATE["Globals"][kind]["Tags"]
    for name in ("SpotMachines", "OnDemandMachines"):
        assert TAG in RESOURCES[name]["Properties"]["ComputeResources"]["Tags"]
    assert TAG in json.dumps(RESOURCES["Machine"]["Properties"]["LaunchTemplateData"]["TagSpecifications"])
    managed = RESOURCES["ManagedMachines"]["Properties"]["ComputeResources"]["ManagedInstancesProvider"]
    assert managed["PropagateTags"] == "CAPACITY_PROVIDER"
    jobs = [one["Properties"] for one in RESOURCES.values() if one["Type"] == "AWS::Batch::JobDefinition"]
    assert all(job["PropagateTags"] for job in jobs)
    assert TAG in json.dumps(RESOURCES["Budget"]["Properties"]["Budget"]["CostFilters"])


def test_a_budget_has_somebody_to_tell():
    """BudgetUsd without AlarmEmail is refused, and not forgotten."""
    rule = TEMPLATE["Rules"]["BudgetNeedsSomebody"]
    assert rule["RuleCondition"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "BudgetUsd"}, "0"]}]}
    assert rule["Assertions"][0]["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmEmail"}, ""]}]}


def test_what_reads_scenes_reaches_private_hosts():
    """With VpcId and AllowHosts: what may read scenes stands in the network of jobs, which may call any port."""
    condition, reads = "ReadsPrivateHosts", {"Ref": "SceneBuckets"}
    for name, properties in FUNCTIONS.items():
        place = properties.get("VpcConfig", {}).get("Fn::If", [""])
        assert (place[0] == condition) == (str(reads) in str(properties["Policies"])), name
        if place[0] == condition:
            assert place[1] == {"SecurityGroupIds": [{"Ref": "JobsGroup"}], "SubnetIds": {"Ref": "SubnetIds"}}
    when, private, public = RESOURCES["JobsGroup"]["Properties"]["SecurityGroupEgress"]["Fn::If"]
    assert when == condition
    assert [(one["FromPort"], one["ToPort"]) for one in private] == [(1, 65535)]
    assert [(one["FromPort"], one["ToPort"]) for one in public] == [(443, 443), (80, 80)]


def test_a_proxy_sets_what_sessions_want():
    """A session that finds its settings sets none, and the proxy may share its connection."""
    pool = RESOURCES["ProxyTargets"]["Properties"]["ConnectionPoolConfigurationInfo"]
    assert pool["InitQuery"] == SETTING


def test_machines_on_demand_can_be_left_out():
    """MaxOnDemandVcpus=0 is no environment, and queues have the one on Spot alone."""
    assert RESOURCES["OnDemandMachines"]["Condition"] == "OnDemandToo"
    for name in ("ShardQueue", "UrgentQueue"):
        _, order, _ = RESOURCES[name]["Properties"]["ComputeEnvironmentOrder"]["Fn::If"]
        second = {"Order": 2, "ComputeEnvironment": {"Ref": "OnDemandMachines"}}
        assert order[1] == {"Fn::If": ["OnDemandToo", second, {"Ref": "AWS::NoValue"}]}


def test_a_machine_s_price_is_that_of_the_defaults():
    """Who deploys without `geodl deploy`, and changes nothing, has the price of the machines that are deployed."""
    defaults = {name: str(one.get("Default", "")) for name, one in TEMPLATE["Parameters"].items()}
    assert float(defaults["GpuHourUsd"]) == round(hour_usd(defaults), 4)


def test_alarms_hear_of_a_single_failure():
    """One run that fails is told, and a dear kilometre also where scenes come seldom; CloudWatch looks back a day."""
    failed, dear = (RESOURCES[f"{name}Alarm"]["Properties"] for name in ("FailedRuns", "Cost"))
    assert failed["Threshold"] == {"Ref": "AlarmFailedRuns"}
    assert TEMPLATE["Parameters"]["AlarmFailedRuns"]["Default"] == 1
    assert dear["Period"] * dear["EvaluationPeriods"] == 86_400
    assert dear["DatapointsToAlarm"] < dear["EvaluationPeriods"]
