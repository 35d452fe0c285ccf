"""What the watches of a deployment say of an Item: the same as those of one machine."""

import json

import pytest

from commands import geodl_here
from controls import controls_of
from geodl_core.aws.ledger.watches import list_cloud_watches, pause_cloud_watch, put_cloud_watch
from geodl_core.aws.site.documents import write_document
from geodl_core.aws.site.layout import result_item_url
from geodl_core.aws.watches.stack_watches import apply_on_stack
from geodl_core.aws.watches.told_watches import examine_on_stack
from geodl_core.catalog.api.app import create_app
from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.domain.watch.watch import read_watch
from geodl_core.service.ledger.watches import list_watches, pause_watch
from geodl_core.service.watches.check import examine
from geodl_core.service.watches.existing import apply_watch
from stac_documents import make_collection
from stacks import stack_of
from uvicorns import behind_uvicorn
from watched import collection, opened, register, scene, watch

RESULT = scene("done", "geodl-water", properties={"geodl:model": "water"})
FROM_RESULT = {"rel": "derived_from", "href": "https://example.com/collections/geodl-water/items/done"}
WATCHES = (
    {"name": "all"},
    {"name": "away", "aoi": "20,20,21,21"},
    {"name": "braked", "collections": ["scenes"], "max_runs_per_day": 1},
    {"name": "clear", "filter": "eo:cloud_cover < 20"},
    {"name": "gone", "model": "fire"},
    {"name": "others", "collections": ["others"]},
    {"name": "asleep"},
    {"name": "scans", "mode": "schedule", "schedule": {"every": "PT6H"}, "collections": ["scenes"]},
)
ITEMS = {
    "plain": scene(),
    "cloudy": scene(properties={"eo:cloud_cover": 80}),
    "clear": scene(properties={"eo:cloud_cover": 8}),
    "replaced": scene(properties={"deprecated": True}),
    "derived": scene(links=[FROM_RESULT]),
    "nowhere": scene(geometry=None, bbox=None),
    "unnamed": {"type": "Feature", "id": "u", "properties": None},
}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Catalog and ledger of one machine with the watches, of which one has ordered a run."""
    folder = tmp_path_factory.mktemp("here")
    with opened(folder) as services:
        register(services, folder, name="water")
        for name in ("scenes", "geodl-water"):
            collection(services, name)
        services.catalog.put_items([scene("earlier"), RESULT])
        for document in WATCHES:
            watch(services, **{"model": "water", **document})
        pause_watch(services.ledger, "asleep", is_paused=True)
        assert [one.is_new for one in apply_watch(services, "braked")] == [True]
        yield services


@pytest.fixture
def there(cloud, here):
    """The controls of a deployment with the same watches, of which one has ordered a run."""
    controls = controls_of(cloud)
    for document in WATCHES:
        put_cloud_watch(cloud.ledger, read_watch({"model": "water", **document}, "watch"), replaces=False)
    pause_cloud_watch(cloud.ledger, "asleep", is_paused=True)
    write_document(cloud.s3, result_item_url(cloud.bucket, "geodl-water", "done"), RESULT)
    assert [one.is_new for one in apply_on_stack(controls, here.catalog, "braked")] == [True]
    return controls


def kept_by(controls):
    return list_cloud_watches(controls.deployment.ledger)


def told(tested):
    """Which watches match, and the outcome of each check; of models, which are others, only whether there is one."""
    return {
        one.name: (one.matches, [(each.name, each.passed, each.name == "model" or each.text) for each in one.checks])
        for one in tested
    }


def test_a_deployment_says_the_same_as_one_machine(here, there):
    """Each check of each watch has the same outcome in the same words, whatever the Item is."""
    kept = kept_by(there)
    for name, item in ITEMS.items():
        found = told(examine_on_stack(there.deployment, kept, item))
        assert found == told(examine(here, list_watches(here.ledger), item)), name
        assert set(found) == {each["name"] for each in WATCHES}


def test_what_was_ordered_and_computed_counts(there):
    """The brake has counted a run, the Item's origin is found among the results, and a missing model is named."""
    found = {one.name: one for one in examine_on_stack(there.deployment, kept_by(there), ITEMS["derived"])}
    texts = {name: {check.name: check.text for check in one.checks} for name, one in found.items()}
    assert texts["braked"]["brake"] == "1 of 1 runs today; the run waits for a later day"
    assert "a result of water in geodl-water" in texts["all"]["loop"]
    assert texts["all"]["model"] == "water@0123456789abcdef"
    assert "no registered model fire in s3://" in texts["gone"]["model"]


@pytest.fixture
def stack(cloud, there):
    """The name of its stack, without a STAC API."""
    return stack_of(cloud)


def ok(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_command_asks_a_deployment(stack, tmp_path):
    """An Item of this machine is told for all watches or for some, as text or JSON; the exit code is for scripts."""
    file = tmp_path / "i.json"
    file.write_text(json.dumps(ITEMS["clear"]))
    out = ok(geodl_here("watch", "test", file, "--stack", stack))
    assert "clear: matches\n  yes collection " in out
    assert "asleep: does not match\n" in out
    assert "  NO  paused     paused\n" in out
    results = json.loads(ok(geodl_here("watch", "test", file, "--stack", stack, "--json")))["results"]
    assert {one["watch"]: one["matches"] for one in results} == {
        **dict.fromkeys(["all", "braked", "clear"], True),
        **dict.fromkeys(["asleep", "away", "gone", "others", "scans"], False),
    }
    assert {check["name"] for check in results[0]["checks"]} >= {"loop", "model"}
    asked = ("watch", "test", file, "--stack", stack, "--exit-code", "--watch")
    assert ok(geodl_here(*asked, "away", "--watch", "clear")).count("match") == 2
    with pytest.raises(SystemExit) as left:
        geodl_here(*asked, "away")
    assert left.value.code == 1
    missing = geodl_here(*asked, "none")
    assert (missing.returncode, "no watch none; there are: all" in missing.stderr) == (2, True)
    both = geodl_here("watch", "test", file, "--stack", stack, "--catalog", tmp_path / "catalog.db")
    assert (both.returncode, "--stack and --catalog exclude" in both.stderr) == (2, True)


def test_an_item_of_the_deployment_s_catalog(cloud, there, tmp_path):
    """`catalog:` means the STAC API that results go to; without one, or without the Item, that is said."""
    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        catalog.put_collection(make_collection("scenes"))
        catalog.put_item(ITEMS["clear"])
        with behind_uvicorn(create_app(catalog)) as url:
            name = stack_of(cloud, CatalogUrl=url)
            assert "clear: matches" in ok(geodl_here("watch", "test", "catalog:scenes/i", "--stack", name))
            lacks = geodl_here("watch", "test", "catalog:scenes/j", "--stack", name)
    assert (lacks.returncode, "no Item j in the collection scenes" in lacks.stderr) == (2, True)


def test_a_deployment_without_a_catalog_is_told_so(stack):
    """An Item by its name needs a STAC API to be looked up in."""
    result = geodl_here("watch", "test", "catalog:scenes/i", "--stack", stack)
    assert (result.returncode, "expected a STAC API, found none" in result.stderr) == (2, True)
