"""The page's pure functions, run by node."""

import json
import shutil
import subprocess
from urllib.parse import quote

import pytest
from fastapi.sse import format_sse_event
from morecantile import tms
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from shapely.geometry import mapping, shape

from geodl_core.service.pages.ui_page import HERE

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs the program node")
FACTS, MAP = ((HERE / name).read_text() for name in ("ui_facts.js", "map.js"))
RUN = {"state": "running", "done": 24, "tiles": 96, "attempt": 1, "started": 900, "finished": None}
TEXTS = ("plain", "a b/c?d#e%f", "<img src=x onerror=alert(1)>", "süß 場", "!~*'()-_.", "..x", "a\nb")


def told(*expressions, script=FACTS, given=None):
    """Return what expressions of the page's script come to; `given` is a value that they can use."""
    program = f"const given = {json.dumps(given)};\n{script}\n"
    program += f"console.log(JSON.stringify([{', '.join(f'({one})' for one in expressions)}]));"
    answer = subprocess.run(
        [NODE, "--input-type=module", "-"], input=program, capture_output=True, text=True, check=True
    )
    return json.loads(answer.stdout)


def test_spans_of_time_are_short_words():
    """Seconds become what a person would say, from tenths to days."""
    found = told(
        "given.map(span)",
        "[ago(95, 100), ago(40, 100), ago(160, 100), ago(98, 100), ago(null, 100)]",
        given=[0, 0.4, 9.96, 59.4, 59.6, 3599, 3600, 3660, 7200 + 300, 48 * 3600, 30 * 86400],
    )
    words = ["0 s", "0.4 s", "10 s", "59 s", "1 min", "1 h", "1 h", "1 h 1 min", "2 h 5 min", "2 d", "30 d"]
    assert found == [words, ["5 s ago", "1 min ago", "in 1 min", "just now", ""]]


def test_addresses_stay_where_they_should():
    """Ids are encoded as a path's parts; those that a browser would resolve away give no address."""
    parts = [["collections", text, "items", text] for text in TEXTS]
    found = told(
        "given.map((parts) => address(...parts))",
        "[['a', '..'], ['.', 'a'], ['a', '']].map((p) => address(...p))",
        given=parts,
    )
    assert found[0] == ["/".join(quote(part, safe="!~*'()") for part in one) for one in parts]
    assert found[1] == [None, None, None]


def test_events_are_read_wherever_the_stream_is_cut():
    """What the server writes is read back, whatever pieces it comes in; comments are no events."""
    written = [("state", json.dumps({"seq": 7, "text": "a\nb: c\u2028"}), "7"), ("progress", '{"tiles":1}', None)]
    stream = format_sse_event(retry=2000, comment="runs of geodl")
    stream += b"".join(format_sse_event(data_str=data, event=kind, id=key) for kind, data, key in written)
    expected = [{"kind": kind, "data": data, "id": key} for kind, data, key in written]
    cut = """[...given.keys()].map((at) => {
      const first = readEvents(given.slice(0, at).join('')), second = readEvents(first.rest + given.slice(at).join(''));
      return [...first.events, ...second.events]; })"""
    (found,) = told(cut, given=list(stream.decode()))
    assert len(found) == len(stream.decode())
    assert all(one == expected for one in found)


def test_numbers_are_those_that_prometheus_reads():
    """Names, labels and values are what the library's own parser finds, odd labels too."""
    registry = CollectorRegistry()
    runs = Gauge("geodl_runs", "Runs.", ("state",), registry=registry)
    for number, state in enumerate(("queued", 'odd "label" \\ with\nall, {of} it')):
        runs.labels(state).set(number + 0.5)
    Counter("geodl_tiles", "Tiles.", registry=registry).inc(3e9)
    text = generate_latest(registry).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found, total = told(
        "readNumbers(given)", "sumOf(readNumbers(given), 'geodl_runs', { state: 'queued' })", given=text
    )
    assert found == [{"name": one.name, "labels": dict(one.labels), "value": one.value} for one in samples]
    assert total == 0.5


def test_bounds_are_those_of_the_area():
    """The bounds of a watch's area are shapely's, of any kind of GeoJSON; nonsense has none."""
    area = shape(
        {
            "type": "MultiPolygon",
            "coordinates": [[[[5, 45], [6, 45], [6, 46.5], [5, 45]]], [[[-3, 1], [0, 1], [0, 2], [-3, 1]]]],
        }
    )
    kinds = [
        mapping(area),
        {"type": "Feature", "geometry": mapping(area)},
        {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "geometry": mapping(one)} for one in area.geoms],
        },
        {"type": "GeometryCollection", "geometries": [mapping(one) for one in area.geoms]},
    ]
    found = told("given.map(boundsOf)", "[null, {}, { coordinates: 'x' }].map(boundsOf)", given=kinds)
    assert found == [[list(area.bounds)] * 4, [None] * 3]


def test_a_run_says_how_far_it_is():
    """A run under way counts tiles, and time where that can be told; an ended one says how long it took."""
    states = [RUN, RUN | {"tiles": 0}, RUN | {"done": 96}, RUN | {"started": 999}]
    states += [RUN | {"state": "succeeded", "finished": 912}, RUN | {"state": "failed", "finished": 960}]
    states += [RUN | {"state": "queued", "attempt": 3}, RUN | {"state": "queued"}]
    words, shares = told("given.map((run) => pace(run, 1000))", "given.map(share)", given=states)
    assert words == [
        "24 of 96 tiles, 5 min left",
        "being planned",
        "96 of 96 tiles, being written",
        "24 of 96 tiles",
        "took 12 s",
        "after 1 min",
        "attempt 3",
        "",
    ]
    assert shares == [0.25, 0, 0.99, 0.25, 1, 0.25, 0.25, 0.25]


def test_watches_say_what_they_look_at():
    """Collections, area, filter, schedule and brake stand in words, and so does that there are none."""
    watch = {
        "collections": ["a", "b"],
        "aoi": {"type": "Point", "coordinates": [5, 45]},
        "clip": False,
        "filter": {"op": "<", "args": [1, 2]},
        "schedule": {"every": "PT6H30M"},
        "max_runs_per_day": 1,
    }
    found = told("given.map(watchWords).map(Object.fromEntries)", given=[watch, {}])
    assert found[0][0] == {
        "Items of": "a, b",
        "within": "5.00, 45.00 to 5.00, 45.00 (whole scenes)",
        "where": '{"op":"<","args":[1,2]}',
        "scans": "every 6 h 30 min",
        "at most": "1 run a day",
    }
    assert found[0][1] == {"Items of": "any collection"}


def test_pictures_are_of_rasters_alone():
    """The classification is looked at first; an Item of tables, or a broken one, has no picture."""
    raster, table = {"type": "image/tiff; application=geotiff"}, {"type": "application/vnd.apache.parquet"}
    items = [
        {"assets": {"x": raster | {"roles": ["data"]}, "y": raster | {"roles": ["data", "classification"]}}},
        {"assets": {"t": table | {"roles": ["data"]}, "x": raster | {"roles": ["data"]}}},
        {"assets": {"t": table | {"roles": ["data"]}}},
        {"assets": {"x": raster | {"roles": "data"}}},
        {"assets": {"x": {"type": 7}, "y": None}},
        {},
    ]
    classes = {
        "classification:classes": [{"value": 1, "name": "<b>", "color_hint": "FF0000"}, {"value": 0, "nodata": True}]
    }
    found = told(
        "given[0].map(assetOf)",
        "classesOf(given[1])",
        "classesOf({ 'classification:classes': 'x' })",
        given=[items, classes],
    )
    assert found == [["y", "x", None, None, None, None], [{"color": "FF0000", "name": "<b>"}], []]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (400, 800)])
def test_a_map_asks_for_the_tiles_of_its_raster_alone(width, height):
    """At first all tiles that meet the raster are asked for and no other; when it ends none is left."""
    bounds = [13.0, 47.7, 13.31, 48.05]
    program = (
        MAP
        + """
      globalThis.addEventListener = globalThis.removeEventListener = () => null;
      globalThis.Image = class { constructor() { this.style = {}; } remove() { shown.delete(this); } };
      const asked = [], shown = new Set();
      const map = { clientWidth: given.width, clientHeight: given.height, append: (tile) => shown.add(tile) };
      const start = () => {
        const end = showMap(map, { bounds: given.bounds, most: 14, setTile: (_, z, x, y) => asked.push([z, x, y]) });
        const before = shown.size;
        end();
        return [asked, before, shown.size];
      };"""
    )
    facts = {"width": width, "height": height, "bounds": bounds}
    ((asked, before, after),) = told("start()", script=program, given=facts)
    level = asked[0][0]
    grid = tms.get("WebMercatorQuad")
    assert sorted(map(tuple, asked)) == sorted((tile.z, tile.x, tile.y) for tile in grid.tiles(*bounds, zooms=[level]))
    assert (before, after) == (len(asked), 0)
    assert 1 < len(asked) < 60
