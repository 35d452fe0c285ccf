"""`geodl plan --on aws`: what a scene will take there, before anything is deployed; and in a stack that is."""

import json
import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from commands import geodl_here
from geodl_core.aws.site.register_model import add_model_to_bucket
from geodl_core.aws.steps.ingest import take_order
from geodl_core.aws.steps.plan_stage import StageSite, plan_stage
from geodl_core.domain.run.options import RunOptions
from geodl_core.domain.run.order import Order, order_id
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from geodl_core.service.jobs.allowed_item import allowed_item
from networks import conv_network, write_emd
from perfect import write_detector, write_objects
from runs import NOW
from scenes import write_raster, write_scene
from stacks import stack_of

BANDS = ("--band", "0=image:1", "--band", "1=image:2", "--arg", "tile_size=96")


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The words of a command over a small scene."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GEODL_STACK", raising=False)
    monkeypatch.chdir(tmp_path)
    path, _ = write_scene(tmp_path)
    conv_network(tmp_path / "net.onnx")
    return ("plan", path, "-m", write_emd(tmp_path), *BANDS)


def told(*words):
    """Return what a command prints as JSON."""
    result = geodl_here(*words, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_scene_is_told_in_time_and_money(asked, tmp_path):
    """Without a stack the template's setup and the list of prices hold; nothing is written."""
    before = sorted(tmp_path.iterdir())
    result = geodl_here(*asked, "--on", "aws")
    assert result.returncode == 0, result.stderr
    for words in (
        "on AWS   us-east-1, prices of 2026-11-22; g6.xlarge, 16 jobs at a time on Spot and 4 on demand",
        "rate     500,000 pixels a second of a job (assumed",
        "merge    by a function",
        "in all",
        "per km²  $",
        "standing $",
    ):
        assert words in result.stdout
    assert "backfill" not in result.stdout
    assert sorted(tmp_path.iterdir()) == before


def test_numbers_for_machines_are_those_for_people(asked):
    """The document has shards, seconds, what is used, what it costs, and that a square kilometre costs its share."""
    document = told(*asked, "--on", "aws", "--rate", "100")
    aws = document["aws"]
    assert document["plan"] is None
    live = document["live"]
    assert aws["compute_s"] == pytest.approx(aws["shards"] * aws["job_s"])
    assert aws["compute_s"] == pytest.approx(live * 80 * 80 / 100, rel=0.6)
    assert aws["job_s"] == pytest.approx(300, rel=0.5)
    assert aws["area_km2"] == pytest.approx(300 * 410 * 100 / 1e6, rel=0.03)
    for way in ("alone", "stream"):
        assert aws[way]["usd_total"] == pytest.approx(sum(aws[way]["usd"].values()))
        assert aws[way]["usd_per_km2"] == pytest.approx(aws[way]["usd_total"] / aws["area_km2"])
    assert aws["alone"]["seconds"] > aws["stream"]["seconds"] + 240
    assert aws["alone"]["usd_total"] > aws["stream"]["usd_total"]
    assert aws["stream"]["machine_s"] == pytest.approx(aws["compute_s"])


def test_options_change_what_they_say(asked, tmp_path):
    """Faster machines need less time, on-demand ones and other prices cost more, Fargate is something else."""
    usual = told(*asked, "--on", "aws", "--rate", "100")["aws"]
    faster = told(*asked, "--on", "aws", "--rate", "200")["aws"]
    assert faster["compute_s"] == pytest.approx(usual["compute_s"] / 2, rel=0.1)
    dear = told(*asked, "--on", "aws", "--rate", "100", "--on-demand")["aws"]
    assert dear["stream"]["usd"]["machines"] == pytest.approx(usual["stream"]["usd"]["machines"] / 0.45)
    table = tmp_path / "prices.toml"
    table.write_text('region = "eu-central-1"\nas_of = "2026-12-01"\n"g6.xlarge" = 1.6096\n')
    own = told(*asked, "--on", "aws", "--rate", "100", "--prices", table)["aws"]
    assert own["region"] == "eu-central-1"
    assert own["stream"]["usd"]["machines"] == pytest.approx(2 * usual["stream"]["usd"]["machines"])
    fargate = told(*asked, "--on", "aws", "--rate", "100", "--compute", "fargate", "--max-vcpus", "8")["aws"]
    assert (fargate["setup"]["compute"], fargate["setup"]["max_vcpus"]) == ("fargate", 8)
    assert "fargate_vcpu_hour" in fargate["alone"]["used"]
    assert "g6.xlarge" not in fargate["alone"]["used"]


def test_a_backfill_is_told_and_drawn(asked, tmp_path):
    """Time under the limits, what held it, its cost, and a picture that is an SVG."""
    picture = tmp_path / "course.svg"
    words = (*asked, "--on", "aws", "--scenes", "3000", "--rate", "200", "--max-vcpus", "32", "--plot", picture)
    result = geodl_here(*words)
    assert result.returncode == 0, result.stderr
    for said in ("backfill 3,000 scenes", "16 scenes and 8 jobs at a time", "held by  machines", f"plot     {picture}"):
        assert said in result.stdout
    assert "Back-fill of 3,000 scenes" in picture.read_text()
    assert ET.parse(picture).getroot().tag.endswith("svg")
    backfill = told(*words)["aws"]["backfill"]
    assert backfill["least_seconds"] <= backfill["seconds"] <= 1.1 * backfill["least_seconds"]
    assert backfill["machine_s"] >= backfill["compute_s"]
    assert sum(backfill["held_by"].values()) == pytest.approx(1)


def test_a_plan_is_written_where_it_is_asked_for(asked, tmp_path):
    """--to says so; the plan is the one that is written without --on."""
    told(*asked, "--on", "aws", "--to", tmp_path / "a")
    told(*asked, "--to", tmp_path / "b")
    assert (tmp_path / "a" / "plan.json").read_bytes() == (tmp_path / "b" / "plan.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scenes", "5"), "--scenes needs --on aws"),
        (("--on-demand",), "--spot needs --on aws"),
        (("--on", "aws", "--plot", "x.svg"), "--plot needs --scenes"),
        (("--on", "aws", "--scenes", "5", "--plot", "x.png"), "expected a name that ends in .svg"),
        (("--on", "aws", "--prices", "none.toml"), "expected a table of prices"),
        (("--on", "aws", "--scenes", "9000000"), "expected at most 5,000,000 jobs"),
        (("--on", "aws", "--max-vcpus", "3"), "3 is not in the range"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, words, said):
    """Each in a line that says what to do."""
    result = geodl_here(*asked, *words)
    assert result.returncode == 2
    assert said in result.stderr


def test_a_mosaic_and_an_empty_scene_are_refused(asked, tmp_path):
    """A deployment runs each Item by itself; and a scene without a live tile costs hardly anything."""
    other = tmp_path / "other"
    other.mkdir()
    path, _ = write_scene(other)
    (other / "other.json").write_text(path.read_text().replace('"id": "scene"', '"id": "other"'))
    result = geodl_here(*asked, other / "other.json", "--mosaic", "first", "--on", "aws")
    assert result.returncode == 2
    assert "expected one Item" in result.stderr
    write_raster(tmp_path / "scene.tif", np.zeros((2, 300, 410), "uint16"), nodata=0)
    result = geodl_here(*asked, "--on", "aws")
    assert result.returncode == 2
    assert "no tile of the scene is live" in result.stderr


def test_objects_are_told_too(tmp_path, monkeypatch):
    """A detector's scene: how large its result is nobody knows, so that the safe side is told."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    path = write_objects(tmp_path, [(20, 20, 60, 50, 0)], (400, 420))
    aws = told("plan", path, "-m", write_detector(tmp_path), "--on", "aws")["aws"]
    assert aws["merge"] == "vector"
    assert aws["stream"]["usd"]["results stored"] > 0


def test_a_stack_says_its_limits_and_how_fast_the_model_was(cloud, asked, tmp_path, monkeypatch):
    """Shards, their time and where they are merged are what the deployment's plan function chooses itself."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    item, emd = asked[1], asked[3]
    added, _ = add_model_to_bucket(cloud.s3, cloud.bucket, load_package(str(emd)), NOW)
    reference = f"{added['properties']['geodl:model']}@{added['properties']['version']}"
    row = {"pk": f"RATE#{reference}", "sk": "RATE", "pixels": 60_000, "started_ms": 0, "stopped_ms": 600_000}
    cloud.ledger.table.put_item(Item=row)
    parameters = {
        "ShardCompute": "gpu-managed-instances",
        "GpuInstanceTypes": "g5.xlarge,g6.xlarge",
        "MaxGpuVcpus": "48",
        "ShardSeconds": "120",
        "MapConcurrency": "7",
        "RequesterPays": "1",
    }
    url = "https://stac.example.com"
    name = stack_of(cloud, parameters=parameters, BackfillConcurrency="24", CatalogUrl=url)
    aws = told(*asked, "--on", "aws", "--stack", name)["aws"]
    monkeypatch.setattr("geodl_core.aws.steps.plan_stage.allowed_item", lambda item, _: allowed_item(item, (tmp_path,)))
    options = RunOptions(arguments={"tile_size": 96}, bands={"0": "image:1", "1": "image:2"})
    order = Order(read_item(str(item)), reference, options)
    take_order(cloud.deployment, order, None)
    site = StageSite(cloud.bucket, cloud.ledger, cloud.s3, shard_s=120.0)
    planned = plan_stage(site, {"run_id": order_id(order), "attempt": 1})
    assert (aws["shards"], aws["merge"]) == (planned["of"], planned["merge"])
    assert aws["shards"] > 3
    assert aws["job_s"] == pytest.approx(planned["shard_pixels"] / 100.0)
    setup = aws["setup"]
    assert (setup["instance"], setup["max_vcpus"], setup["shards_at_once"]) == ("g5.xlarge", 48, 7)
    assert (setup["scenes_at_once"], setup["is_spot"], setup["has_database"]) == (24, False, False)
    assert (setup["max_on_demand_vcpus"], setup["has_proxy"]) == (0, False)
    assert setup["pays"]
    assert "of the last run of" in aws["rate_origin"]
    assert "database" not in aws["alone"]["usd"]
    # The model may be named as it is registered there.
    by_name = told(*asked[:3], added["properties"]["geodl:model"], *asked[4:], "--on", "aws", "--stack", name)["aws"]
    assert (by_name["shards"], by_name["rate_origin"]) == (aws["shards"], aws["rate_origin"])
    unknown = geodl_here(*asked[:3], "fire", *asked[4:], "--on", "aws", "--stack", name)
    assert (unknown.returncode, "no registered model fire" in unknown.stderr) == (2, True)
    # The environment may name it; what the command line says stands above the stack.
    monkeypatch.setenv("GEODL_STACK", name)
    assert told(*asked, "--on", "aws", "--spot")["aws"]["setup"]["is_spot"]


def test_a_stack_that_says_nothing_is_as_by_default(cloud, asked, monkeypatch, tmp_path):
    """One of an older template; and one where the model has not run."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    aws = told(*asked, "--on", "aws", "--stack", stack_of(cloud))["aws"]
    assert (aws["setup"]["max_vcpus"], aws["setup"]["max_on_demand_vcpus"]) == (64, 16)
    assert "assumed" in aws["rate_origin"]


def test_what_a_stack_has_beside_spot_is_told(cloud, asked, monkeypatch, tmp_path):
    """Machines on demand count where the stack has some, and a proxy whose database never rests."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    parameters = {"MaxGpuVcpus": "32", "MaxOnDemandVcpus": "8", "UseRdsProxy": "true"}
    words = (*asked, "--on", "aws", "--stack", stack_of(cloud, parameters=parameters))
    aws = told(*words)["aws"]
    setup = aws["setup"]
    assert (setup["max_vcpus"], setup["max_on_demand_vcpus"], setup["has_proxy"]) == (32, 8, True)
    assert aws["standing_usd_per_month"]["database"] == pytest.approx(131.4)
    assert told(*words, "--max-vcpus", "64")["aws"]["setup"]["max_on_demand_vcpus"] == 0


def test_no_library_of_amazons_is_needed(asked):
    """Who only wants to know what it would cost needs no boto3."""
    code = (
        "import sys\nsys.modules['boto3'] = sys.modules['botocore'] = None\n"
        "from geodl_core.cli.main import main\nmain()"
    )
    words = [sys.executable, "-W", "ignore", "-c", code, *map(str, asked), "--on", "aws", "--scenes", "10"]
    result = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ), timeout=100, check=False)
    assert result.returncode == 0, result.stderr
    assert "backfill 10 scenes" in result.stdout
