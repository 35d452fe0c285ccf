"""`geodl search` prints what a catalog holds, for people and for programs."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from geodl_core.catalog.sqlite import SqliteCatalog
from geodl_core.cli.search import search
from geodl_core.errors import CatalogError, QueryError


def make_item(number, **more):
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"S2B_MSIL2A_2024050{number % 9 + 1}T103629_R008_T32TMS_landcover_0123456{number}",
        "collection": "sentinel-2-l2a-landcover",
        "geometry": {"type": "Point", "coordinates": [number, 50]},
        "properties": {"datetime": f"2024-05-0{number % 9 + 1}T10:36:29Z", "eo:cloud_cover": number} | more,
        "assets": {
            "classification": {
                "href": "x.tif",
                "classification:classes": [{"value": 1, "name": "wa[b]ter", "percentage": 12.5}],
            }
        },
        "links": [],
    }


@pytest.fixture
def path(tmp_path):
    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        catalog.put_collection({"id": "sentinel-2-l2a-landcover"})
        catalog.put_items([make_item(number) for number in range(5)] + [make_item(5, **{"geodl:model": "[b]lc"})])
    return str(tmp_path / "catalog.db")


def run(*arguments, **more):
    result = CliRunner().invoke(search, arguments, **more)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_table_fits_and_counts(path):
    """The table has a row an Item, fits 100 columns off a terminal, and ends with their number."""
    result = run("--catalog", path)
    lines = result.output.splitlines()
    assert result.exit_code == 0
    assert lines[-1] == "6 items"
    assert max(len(line) for line in lines) <= 100
    assert "2024-05-06 10:36" in result.output
    assert "wa[b]ter" in result.output
    assert "12.5 %" in result.output


def test_json_is_all_there_is(path):
    """With --json the output is one FeatureCollection and nothing else."""
    result = run("--catalog", path, "--json", "--limit", "2")
    document = json.loads(result.stdout)
    assert document["type"] == "FeatureCollection"
    assert [item["properties"]["eo:cloud_cover"] for item in document["features"]] == [5, 4]
    assert json.loads(run("--catalog", path, "--json", "--id", "none").stdout)["features"] == []


@pytest.mark.parametrize(
    ("arguments", "clouds"),
    [
        (("--sortby", "-eo:cloud_cover", "--limit", "2"), [5, 4]),
        (("--sortby", "eo:cloud_cover,datetime"), [0, 1, 2, 3, 4, 5]),
        (("--filter", "eo:cloud_cover < 2", "--sortby", "id"), [0, 1]),
        (("--filter", '{"op":"=","args":[{"property":"eo:cloud_cover"},3]}'), [3]),
        (("--bbox", "2.5,40,4.5,60"), [4, 3]),
        (("--datetime", "2024-05-02/2024-05-03"), [2, 1]),
        (("-c", "none", "-c", "sentinel-2-l2a-landcover", "--limit", "1"), [5]),
        (("--limit", "0"), [5, 4, 3, 2, 1, 0]),
    ],
)
def test_options_restrict(path, arguments, clouds):
    """Each option restricts or orders as it says."""
    found = json.loads(run("--catalog", path, "--json", *arguments).stdout)["features"]
    assert [item["properties"]["eo:cloud_cover"] for item in found] == clouds


def test_limit_zero_pages_through(path, monkeypatch):
    """`--limit 0` gives every Item however many pages that takes, a limit stops amid them."""
    monkeypatch.setattr("geodl_core.cli.search.PAGE", 2)
    assert len(json.loads(run("--catalog", path, "--json", "--limit", "0").stdout)["features"]) == 6
    assert len(json.loads(run("--catalog", path, "--json", "--limit", "5").stdout)["features"]) == 5


def test_nothing_found_is_no_error(path):
    """No match prints 'no items' and is a success."""
    result = run("--catalog", path, "--id", "none")
    assert (result.exit_code, result.output) == (0, "no items\n")


def test_catalog_from_the_environment(path):
    """GEODL_CATALOG names the catalog where the option does not."""
    assert run(env={"GEODL_CATALOG": path}).output.endswith("6 items\n")


def test_missing_catalog_and_bad_input(path, tmp_path):
    """A missing catalog, a bad filter and a bad box are told, each in its way."""
    with pytest.raises(CatalogError, match="found none"):
        run("--catalog", str(tmp_path / "none.db"))
    with pytest.raises(QueryError, match="CQL2"):
        run("--catalog", path, "--filter", "a ==")
    result = run("--catalog", path, "--bbox", "1,2,3")
    assert result.exit_code == 2
    assert "west,south,east,north" in result.output


def test_help_is_light_and_has_examples():
    """--help shows examples and loads none of the heavy packages."""
    assert 'geodl search --filter "eo:cloud_cover < 10' in run("--help").output
    code = (
        "import sys; import geodl_core.cli.search; "
        "print([name for name in ('rich', 'shapely', 'sqlite3', 'requests', 'cql2', 'numpy') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_objects_are_counted(tmp_path):
    """Of found objects the table tells how many there are of each class, and where there are none."""
    classes = [
        {"value": 1, "name": "car", "count": 1234, "percentage": 99.5},
        {"value": 2, "name": "bus", "title": "Bus", "count": 6, "percentage": 0.5},
    ]
    found = {**make_item(1, **{"geodl:detections": 1240}), "id": "found"}
    found["assets"] = {"detections": {"href": "x", "classification:classes": classes}, "detections_gpkg": {"href": "y"}}
    none = {**make_item(2, **{"geodl:detections": 0}), "id": "none"}
    none["assets"] = {
        "detections": {"href": "x", "classification:classes": [{**classes[0], "count": 0, "percentage": 0}]}
    }
    with SqliteCatalog(tmp_path / "catalog.db") as catalog:
        catalog.put_collection({"id": "sentinel-2-l2a-landcover"})
        catalog.put_items([found, none])
    output = " ".join(run("--catalog", str(tmp_path / "catalog.db")).output.split())
    assert "1,234 car, 6 Bus" in output
    assert "no objects" in output
    assert "%" not in output
