"""`geodl model add|list|show|export|remove` of a deployment: the registry in its bucket, found by the stack's name."""

import json
import re

import pytest
from test_aws_stages import BANDS, Works, allow_files

from commands import geodl_here
from geodl_core.aws.ledger.watches import put_cloud_watch
from geodl_core.aws.site.model_index import resolve_model
from geodl_core.aws.site.registry import load_from_bucket
from geodl_core.aws.steps.fail_stage import fail_stage
from geodl_core.aws.steps.merge_stage import merge_stage
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.watch.watch import Watch
from geodl_core.engine.load_model import load_model
from geodl_core.errors import ModelError
from geodl_core.io.package.package import load_package
from geodl_core.io.stac import read_item
from networks import conv_network, write_emd
from scenes import write_scene
from stacks import stack_of


@pytest.fixture
def stack(cloud, tmp_path, monkeypatch):
    """The name of a deployment's stack; commands run in a folder with the model `net.emd`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path.with_name(f"{tmp_path.name}-cache")))
    write_model(tmp_path, 5)
    return stack_of(cloud)


def write_model(folder, seed):
    """Write the model `net.emd`, or another version of it."""
    conv_network(folder / "net.onnx", seed=seed)
    return write_emd(folder)


def ok(*words):
    result = geodl_here("model", *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(*words):
    result = geodl_here("model", *words)
    assert result.returncode == 2, (result.stdout, result.stderr)
    assert "unexpected" not in result.stderr
    return result.stderr


def two_versions(stack, folder):
    """Register two versions; return them, older first."""
    versions = []
    for seed in (5, 6):
        write_model(folder, seed)
        versions.append(ok("add", "net.emd", "--stack", stack).split("@")[1].strip())
    return versions


def test_a_model_is_added_to_a_deployment(cloud, stack, tmp_path):
    """By the stack's name it comes to where --store s3://BUCKET brings it, and nothing is written here."""
    before = sorted(tmp_path.iterdir())
    said = ok("add", "net.emd", "--stack", stack)
    assert said.startswith("registered net@")
    keys = cloud.keys()
    assert ok("add", "net.emd", "--store", cloud.bucket.url) == f"already {said}"
    assert cloud.keys() == keys
    assert sorted(tmp_path.iterdir()) == before
    reference = said.split()[1]
    assert resolve_model(cloud.s3, cloud.bucket, "net").reference == reference
    assert load_model(load_from_bucket(cloud.s3, cloud.bucket, reference)).name == "net"
    item = json.loads(ok("add", "net.emd", "--stack", stack, "--json"))
    assert item == json.loads(ok("show", "net", "--stack", stack, "--json"))


def test_models_of_a_deployment_are_listed(stack, tmp_path):
    """All versions, the latest first, in the same table and the same JSON as those of a catalog."""
    assert ok("list", "--stack", stack) == "no models\n"
    old, new = two_versions(stack, tmp_path)
    write_emd(tmp_path, ModelName="zebra")
    ok("add", "net.emd", "--stack", stack)
    features = json.loads(ok("list", "--stack", stack, "--json"))["features"]
    assert [item["properties"]["geodl:model"] for item in features] == ["net", "net", "zebra"]
    assert [item["properties"]["version"] for item in features[:2]] == [new, old]
    table = ok("list", "--stack", stack)
    assert table.index(new) < table.index(old)
    assert table.endswith("3 models\n")
    for seed in (5, 6):
        write_model(tmp_path, seed)
        ok("add", "net.emd", "--catalog", "c.db")
    here = ok("list", "--catalog", "c.db").splitlines()
    assert here[:1] == table.splitlines()[:1]
    assert [line.split()[:2] for line in here[2:4]] == [line.split()[:2] for line in table.splitlines()[2:4]]


def test_a_model_of_a_deployment_is_shown(cloud, stack, tmp_path):
    """The card is that of a catalog, with files in the bucket; that results are not counted there is said."""
    old, new = two_versions(stack, tmp_path)
    card = ok("show", f"net@{old[:4]}", "--stack", stack)
    assert f"(latest: net-{new})" in card
    assert re.search(r"^results +not counted in a deployment", card, re.MULTILINE)
    assert f"{cloud.bucket.url}/models/net/{old}/net.onnx" in card
    ok("add", "net.emd", "--catalog", "c.db")
    here = ok("show", "net", "--catalog", "c.db")
    labels = {line.split("  ")[0] for line in here.splitlines()} - {""}
    assert labels == {line.split("  ")[0] for line in ok("show", "net", "--stack", stack).splitlines()} - {""}
    assert "there are: net" in refused("show", "water", "--stack", stack)
    assert "no version ffff" in refused("show", "net@ffff", "--stack", stack)
    assert "4 characters" in refused("show", "net@1", "--stack", stack)
    assert json.loads(ok("show", f"net-{old}", "--stack", stack, "--json"))["id"] == f"net-{old}"


def test_a_model_of_a_deployment_is_exported(cloud, stack, tmp_path):
    """The package has the definition and the network that were registered; a file that was exchanged is refused."""
    emd = (tmp_path / "net.emd").read_bytes()
    digest = load_model(load_package("net.emd")).digest
    ok("add", "net.emd", "--stack", stack)
    ok("export", "net", "out.dlpk", "--stack", stack)
    package = load_package(str(tmp_path / "out.dlpk"))
    assert (package.emd_text, load_model(package).digest) == (emd, digest)
    assert "--force" in refused("export", "net", "out.dlpk", "--stack", stack)
    ok("export", "net", "folder", "--stack", stack)
    assert (tmp_path / "folder" / "net.emd").read_bytes() == emd
    key = next(key for key in cloud.keys("models/") if key.endswith(".onnx"))
    cloud.s3.put_object(Bucket=cloud.bucket.name, Key=key, Body=b"other")
    assert "is not the file that was registered" in refused("export", "net", "x.dlpk", "--stack", stack)
    cloud.s3.delete_object(Bucket=cloud.bucket.name, Key=key)
    assert "found none" in refused("export", "net", "x.dlpk", "--stack", stack)
    assert not (tmp_path / "x.dlpk").exists()


def test_which_registry_is_meant(cloud, stack, tmp_path, monkeypatch):
    """A catalog or a store on the command line stands above the deployment of the environment; two are refused."""
    SqliteCatalog("c.db").close()
    ok("add", "net.emd", "--stack", stack)
    monkeypatch.setenv("GEODL_STACK", stack)
    monkeypatch.setenv("GEODL_CATALOG", "c.db")
    assert "net" in ok("list")
    assert ok("list", "--catalog", "c.db") == "no models\n"
    assert "no registered model net" in refused("show", "net", "--catalog", "c.db")
    assert "no registered model net" in refused("export", "net", "x.dlpk", "--catalog", "c.db")
    assert "no registered model net" in refused("remove", "net", "--catalog", "c.db")
    keys = cloud.keys()
    write_model(tmp_path, 6)
    ok("add", "net.emd", "--store", "models")
    assert "1 model" in ok("list", "--catalog", "c.db")
    ok("remove", "net", "--store", "models")
    assert cloud.keys() == keys
    for words in (("list",), ("show", "net"), ("export", "net", "x.dlpk"), ("remove", "net"), ("add", "net.emd")):
        assert "--stack and --catalog exclude" in refused(*words, "--stack", stack, "--catalog", "c.db")
    for words in (("remove", "net"), ("add", "net.emd")):
        assert "--stack and --store exclude" in refused(*words, "--stack", stack, "--store", "models")


@pytest.mark.parametrize("words", ["add net.emd", "list", "show net", "export net x.dlpk", "remove net"])
def test_a_stack_that_there_is_not(stack, words):
    """Each command says which deployment it did not find."""
    assert "stack nowhere: there is none" in refused(*words.split(), "--stack", "nowhere")


def watch(cloud, name, model):
    put_cloud_watch(cloud.ledger, Watch(name=name, model=model, collections=("scenes",)), replaces=True)


def test_a_model_of_a_deployment_is_removed(cloud, stack, tmp_path):
    """Item and files of one version go, and others are linked with one another as if it had never been."""
    old, new = two_versions(stack, tmp_path)
    assert ok("remove", f"net@{new}", "--stack", stack) == f"removed net@{new}\n"
    assert not [key for key in cloud.keys("models/") if new in key]
    (left,) = json.loads(ok("list", "--stack", stack, "--json"))["features"]
    assert left["properties"]["version"] == old
    assert not {"successor-version", "latest-version"} & {link["rel"] for link in left["links"]}
    assert resolve_model(cloud.s3, cloud.bucket, "net").reference == f"net@{old}"
    ok("remove", "net", "--stack", stack)
    assert cloud.keys("models/") == []
    assert "no registered model net; there are: none at all" in refused("remove", "net", "--stack", stack)
    ok("add", "net.emd", "--stack", stack)
    load_from_bucket(cloud.s3, cloud.bucket, f"net@{new}")


def test_what_a_watch_takes_stays(cloud, stack, tmp_path):
    """The version that a watch would take is removed by force alone; one that none takes goes without it."""
    old, new = two_versions(stack, tmp_path)
    write_model(tmp_path, 7)
    newest = ok("add", "net.emd", "--stack", stack).split("@")[1].strip()
    watch(cloud, "latest", "net")
    watch(cloud, "pinned", f"net@{old}")
    watch(cloud, "other", "water")
    watch(cloud, "gone", "net@ffffffffffff")
    said = refused("remove", "net", "--stack", stack)
    assert f"net@{newest}: expected one that no watch takes, found latest" in said
    assert "--force" in said
    assert "found pinned" in refused("remove", f"net@{old[:6]}", "--stack", stack)
    assert len([key for key in cloud.keys("models/net/") if key.endswith(".onnx")]) == 3
    ok("remove", f"net@{new}", "--stack", stack)
    ok("remove", "net", "--stack", stack, "--force")
    assert resolve_model(cloud.s3, cloud.bucket, "net").reference == f"net@{old}"
    assert "latest, pinned" in refused("remove", "net", "--stack", stack)


def test_a_removal_that_was_left_half_done(cloud, stack):
    """Where the Item has gone and files have not, nobody takes the model, and it can be added again."""
    reference = ok("add", "net.emd", "--stack", stack).split()[1]
    name, _, version = reference.partition("@")
    cloud.s3.delete_object(Bucket=cloud.bucket.name, Key=f"models/{name}/{version}/{name}-{version}.json")
    assert ok("list", "--stack", stack) == "no models\n"
    with pytest.raises(ModelError, match="no registered model"):
        load_from_bucket(cloud.s3, cloud.bucket, reference)
    assert ok("add", "net.emd", "--stack", stack) == f"registered {reference}\n"


def test_runs_of_a_model_that_is_removed(cloud, stack, tmp_path, monkeypatch):
    """A run that was planned goes on to its end without the registry; one that still waits ends as invalid."""
    allow_files(monkeypatch, tmp_path)
    path, _ = write_scene(tmp_path)
    works = Works(cloud, tmp_path, read_item(str(path)), tmp_path / "net.emd", {"bands": BANDS})
    planned, waiting = works.plan(works.order()), works.order(arguments={"tile_size": 96})
    ok("remove", "net", "--stack", stack)
    works.shards(planned)
    merge_stage(planned)
    assert works.register(planned)["collection"] == "geodl-net"
    with pytest.raises(ModelError, match="no registered model net@") as caught:
        works.plan(waiting)
    error = {"Error": type(caught.value).__name__, "Cause": json.dumps({"errorMessage": caught.value.message})}
    assert fail_stage(cloud.ledger, {**waiting, "error": error})["state"] == "invalid"
