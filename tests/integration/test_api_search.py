"""Searching through the API: each condition finds what it says, and pages join to the whole answer."""

import json
import math
from urllib.parse import parse_qsl, urlsplit

import cql2
import pytest

from stac_documents import make_collection, make_item, rectangle

FIJI = {
    "type": "MultiPolygon",
    "coordinates": [rectangle(177, -19, 180, -16)["coordinates"], rectangle(-180, -19, -178, -16)["coordinates"]],
}
CLOUDS = [3, 0.4, 11.4, None, 74, 100, 3, 0]
N = len(CLOUDS)


def scene(number):
    cloud = {} if CLOUDS[number] is None else {"eo:cloud_cover": CLOUDS[number]}
    more = {"platform": f"sentinel-2{'ab'[number % 2]}", "geodl:n": number, "proj:code": "EPSG:32720"}
    item = make_item(f"s{number}", (number * 10, 10, number * 10 + 5, 15), **cloud, **more)
    item["properties"]["datetime"] = f"2024-0{number + 1}-15T12:00:00Z"
    return item


@pytest.fixture(scope="module")
def loaded(api):
    """Eight scenes side by side, a month apart; one across the antimeridian; one that lasts a year."""
    api.post("/collections", json=make_collection("s"))
    fiji = make_item("fiji", title="Coast of Viti Levu, Fiji") | {"geometry": FIJI, "bbox": [177, -19, -178, -16]}
    fiji["properties"]["datetime"] = "2020-01-01T00:00:00Z"
    long = make_item("long", (-50, -50, -40, -40), keywords=["yearly mean", "ice"], datetime=None)
    long["properties"] |= {"start_datetime": "2021-01-01T00:00:00Z", "end_datetime": "2021-12-31T23:59:59Z"}
    features = [scene(number) for number in range(N)] + [fiji, long]
    page = {"type": "FeatureCollection", "features": features}
    assert api.post("/collections/s/items", json=page).status_code == 201
    return features


@pytest.fixture
def find(api, loaded):
    """The ids that a search finds, asked by POST and by GET, which must agree."""

    def search(**asked):
        body = {"collections": ["s"], "limit": 100} | asked
        posted = api.post("/search", json=body)
        assert posted.status_code == 200, posted.text
        found = [item["id"] for item in posted.json()["features"]]
        spelled = {name: _in_query(name, value) for name, value in body.items()}
        got = api.get("/search", params=spelled)
        assert got.status_code == 200, got.text
        assert [item["id"] for item in got.json()["features"]] == found
        return found

    return search


def _in_query(name, value):
    if name == "sortby":
        return ",".join(("+" if one["direction"] == "asc" else "-") + one["field"] for one in value)
    if name == "filter":
        return value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, dict):
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, list) else value


def pages(api, first):
    """Follow next links to the end and prev links back; return the ids of the pages both ways."""
    forth, back, page = [], [], first
    while True:
        forth.append([item["id"] for item in page["features"]])
        links = {link["rel"]: link for link in page["links"]}
        if "next" not in links:
            break
        page = _follow(api, links["next"])
    while "prev" in links:
        page = _follow(api, links["prev"])
        back.append([item["id"] for item in page["features"]])
        links = {link["rel"]: link for link in page["links"]}
    return forth, back


def _follow(api, link):
    if link.get("method") == "POST":
        assert link["merge"] is False
        return api.post(link["href"], json=link["body"]).json()
    return api.get(link["href"]).json()


def test_newest_first(find):
    """Without any condition all Items come, the newest first."""
    assert find() == [f"s{number}" for number in reversed(range(N))] + ["long", "fiji"]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0, 10, 14, 15], ["s1", "s0"]),
        ([6, 0, 9, 90], []),
        ([5, 15, 5, 15], ["s0"]),
        ([0, 10, 0, 14, 15, 9], ["s1", "s0"]),
        ([176, -18, 178, -17], ["fiji"]),
        ([-179, -18, -170, -17], ["fiji"]),
        ([179, -20, -179, 0], ["fiji"]),
        ([170, -20, 176, 0], []),
        ([-170, -20, 170, 0], []),
        ([170, -90, 12, 90], ["s1", "s0", "long", "fiji"]),
    ],
)
def test_bbox(find, box, expected):
    """A box finds what it touches and nothing else; west > east crosses the antimeridian."""
    assert find(bbox=box) == expected


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        ({"type": "Polygon", "coordinates": [[[0, 10], [4, 10], [0, 14], [0, 10]]]}, ["s0"]),
        ({"type": "Polygon", "coordinates": [[[5.5, 0], [9.5, 0], [9.5, 50], [5.5, 0]]]}, []),
        ({"type": "LineString", "coordinates": [[0, 12], [40, 12]]}, ["s4", "s3", "s2", "s1", "s0"]),
        ({"type": "Point", "coordinates": [179.5, -17]}, ["fiji"]),
        (rectangle(179, -18, 181, -17), ["fiji"]),
    ],
)
def test_intersects(find, geometry, expected):
    """A geometry finds what it touches, exactly, not by boxes."""
    assert find(intersects=geometry) == expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2024-03-15T12:00:00Z", ["s2"]),
        ("2024-03-15T13:00:00+01:00", ["s2"]),
        ("2024-03-15T12:00:00.000Z", ["s2"]),
        ("2024-03-01T00:00:00Z/2024-04-30T00:00:00Z", ["s3", "s2"]),
        ("2024-07-01T00:00:00Z/..", ["s7", "s6"]),
        ("../2021-06-01T00:00:00Z", ["long", "fiji"]),
        ("2021-06-01T00:00:00Z/2021-06-02T00:00:00Z", ["long"]),
        ("2019-01-01T00:00:00Z/2019-12-31T00:00:00Z", []),
    ],
)
def test_datetime(find, when, expected):
    """Times and intervals, open ones too, find what was going on; ends are inclusive."""
    assert find(datetime=when) == expected


@pytest.mark.parametrize(
    "when", ["2024-13-01T00:00:00Z", "soon", "..", "../..", "2024-02-01T00:00:00Z/2024-01-01T00:00:00Z", "/"]
)
def test_times_that_are_none(api, loaded, when):
    """What is no RFC 3339 time gets 400, by GET and by POST."""
    assert api.get("/search", params={"datetime": when}).status_code == 400
    assert api.post("/search", json={"datetime": when}).status_code == 400


def test_ids_and_collections(api, find):
    """Lists narrow; what is not there is not found, and is no error."""
    assert find(ids=["s3", "none", "s1"]) == ["s3", "s1"]
    assert find(collections=["none"]) == []
    assert find(collections=["none", "s"], ids=["s0"]) == ["s0"]
    items = api.get("/collections/s/items", params={"bbox": "0,10,14,15", "filter": "geodl:n = 1"}).json()
    assert [item["id"] for item in items["features"]] == ["s1"]


def by(*names):
    return [{"field": name.lstrip("-"), "direction": "desc" if name.startswith("-") else "asc"} for name in names]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (by("datetime"), ["fiji", "long", *(f"s{number}" for number in range(N))]),
        (by("properties.datetime"), ["fiji", "long", *(f"s{number}" for number in range(N))]),
        (by("-id"), [*(f"s{number}" for number in reversed(range(N))), "long", "fiji"]),
    ],
)
def test_sortby(find, order, expected):
    """Items come in the order asked for."""
    assert find(sortby=order) == expected


@pytest.mark.parametrize("name", ["eo:cloud_cover", "properties.eo:cloud_cover"])
def test_numbers_are_sorted_as_numbers(find, name):
    """11.4 comes after 3 and before 74; what lacks the property comes last both ways; ties go by a second name."""
    known = sorted((number for number in range(N) if CLOUDS[number] is not None), key=lambda n: (CLOUDS[n], -n))
    lack = {"s3", "fiji", "long"}
    found = find(sortby=by(name, "-datetime"))
    assert found[:-3] == [f"s{number}" for number in known]
    assert set(found[-3:]) == lack
    falling = sorted(known, key=lambda n: (-CLOUDS[n], -n))
    assert find(sortby=by(f"-{name}", "-datetime"))[:-3] == [f"s{number}" for number in falling]


FILTERS = [
    "eo:cloud_cover < 5",
    "eo:cloud_cover >= 3 AND eo:cloud_cover < 12",
    "NOT eo:cloud_cover < 5",
    "platform = 'sentinel-2a' AND NOT (geodl:n IN (0, 2))",
    "platform LIKE '%-2b'",
    "geodl:n BETWEEN 2 AND 4 OR eo:cloud_cover = 100",
    "casei(platform) = casei('SENTINEL-2A')",
    "S_INTERSECTS(geometry, POLYGON((0 12, 16 12, 16 13, 0 13, 0 12)))",
    "geodl:n + 1 > 6",
]


@pytest.mark.parametrize("text", FILTERS)
def test_filter_as_text_and_as_json(find, loaded, text):
    """CQL2 text and CQL2-JSON find the same, and just what cql2 itself matches, custom properties included."""
    expression = cql2.parse_text(text)
    # cql2 wants every property to be there.
    names = ("eo:cloud_cover", "platform", "geodl:n")
    have = [item for item in loaded if all(name in item["properties"] for name in names)]
    expected = {item["id"] for item in have if expression.matches(item)}
    found = find(filter=text, **{"filter-lang": "cql2-text"})
    assert {one for one in found if one in {item["id"] for item in have}} == expected
    assert find(filter=expression.to_json(), **{"filter-lang": "cql2-json"}) == found


def test_filters_on_what_is_missing(find):
    """Null tests see what lacks a property; temporal and array operators work on their kinds."""
    assert find(filter="eo:cloud_cover IS NULL") == ["s3", "long", "fiji"]
    assert find(filter="a_contains(keywords, ('ice'))") == ["long"]
    assert find(filter="t_during(datetime, INTERVAL('2024-02-01T00:00:00Z', '2024-04-01T00:00:00Z'))") == ["s2", "s1"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"eo:cloud_cover": {"lt": 5}}, lambda p: p.get("eo:cloud_cover", math.inf) < 5),
        ({"eo:cloud_cover": {"gte": 3, "lte": 74}}, lambda p: 3 <= p.get("eo:cloud_cover", -1) <= 74),
        ({"eo:cloud_cover": {"eq": 3}}, lambda p: p.get("eo:cloud_cover") == 3),
        ({"eo:cloud_cover": {"neq": 3}}, lambda p: p.get("eo:cloud_cover", 3) != 3),
        ({"platform": {"endsWith": "2b"}}, lambda p: p.get("platform", "").endswith("2b")),
        ({"platform": {"startsWith": "sentinel_"}}, lambda p: False),
        ({"title": {"contains": "Viti"}}, lambda p: "Viti" in p.get("title", "")),
        ({"geodl:n": {"in": [1, 5, 99]}}, lambda p: p.get("geodl:n") in (1, 5)),
        ({"platform": {"eq": "sentinel-2a"}, "geodl:n": {"gt": 3}}, lambda p: p.get("geodl:n") in (4, 6)),
    ],
)
def test_query(find, loaded, query, expected):
    """The query extension compares as it says; percent signs and underscores are no wildcards."""
    assert set(find(query=query)) == {item["id"] for item in loaded if expected(item["properties"])}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fiji"], ["fiji"]),
        (["FIJI"], ["fiji"]),
        (["viti levu"], ["fiji"]),
        (["levu viti"], []),
        (["fij"], []),
        (["ice", "coast"], ["long", "fiji"]),
        (["yearly  mean"], ["long"]),
        (["none"], []),
    ],
)
def test_free_text(find, words, expected):
    """Words and phrases are found whole, in any case, in title, description and keywords; any of them suffices."""
    assert find(q=words) == expected


@pytest.mark.parametrize("order", [(), by("eo:cloud_cover"), by("-eo:cloud_cover", "id"), by("platform", "-datetime")])
@pytest.mark.parametrize("limit", [1, 3, 4, 50])
def test_pages_lead_through_all_items_and_back(api, loaded, order, limit):
    """Next links join to the whole answer, each Item once; prev links lead back over the same pages."""
    body = {"collections": ["s"], "limit": limit, "sortby": order, "fields": {"include": ["id", "links"]}}
    whole = [item["id"] for item in api.post("/search", json=body | {"limit": 100}).json()["features"]]
    forth, back = pages(api, api.post("/search", json=body).json())
    assert [one for page in forth for one in page] == whole
    assert len(whole) == len(loaded)
    assert list(reversed(back)) == forth[:-1]
    params = {"limit": limit, "sortby": _in_query("sortby", order)} if order else {"limit": limit}
    assert pages(api, api.get("/collections/s/items", params=params).json()) == (forth, back)


def test_page_links_keep_the_whole_question(api, loaded):
    """A next link of GET asks all that was asked, once."""
    asked = {"collections": "s", "bbox": "0,0,90,90", "filter": "geodl:n > 0", "limit": "2", "fields": "id"}
    page = api.get("/search", params=asked).json()
    link = next(link for link in page["links"] if link["rel"] == "next")
    found = parse_qsl(urlsplit(link["href"]).query)
    assert dict(found).items() >= asked.items()
    assert len(found) == len(asked) + 1


def test_number_matched(api, loaded):
    """The number of matches is told where all are shown, where it is cheap, and to who asks for a single Item."""
    everything = api.post("/search", json={"collections": ["s"], "limit": 2}).json()
    assert (everything["numberMatched"], everything["numberReturned"]) == (len(loaded), 2)
    clear = {"collections": ["s"], "filter": "eo:cloud_cover < 5", "filter-lang": "cql2-text"}
    assert api.post("/search", json=clear).json()["numberMatched"] == 4
    assert api.post("/search", json=clear | {"limit": 1}).json()["numberMatched"] == 4
    assert "numberMatched" not in api.post("/search", json=clear | {"limit": 2}).json()


@pytest.mark.parametrize(
    ("fields", "names", "properties"),
    [
        ({"include": ["id", "properties.geodl:n"]}, {"id", "properties"}, {"geodl:n"}),
        ({"include": ["id", "geodl:n"]}, {"id", "properties"}, {"geodl:n"}),
        ({"include": ["assets.data.href"]}, {"assets"}, None),
        ({}, {"type", "stac_version", "id", "geometry", "bbox", "links", "assets", "properties"}, {"datetime"}),
        (
            {"include": ["properties"], "exclude": ["properties.datetime"]},
            {"properties"},
            {"platform", "geodl:n", "proj:code", "eo:cloud_cover"},
        ),
        ({"include": ["properties.datetime"], "exclude": ["properties"]}, {"properties"}, {"datetime"}),
    ],
)
def test_fields(api, loaded, fields, names, properties):
    """Of each Item the asked parts come and no more; the most specific name decides."""
    item = api.post("/search", json={"collections": ["s"], "ids": ["s1"], "fields": fields}).json()["features"][0]
    assert set(item) == names
    if properties is not None:
        assert set(item["properties"]) == properties


def test_fields_left_out(api, loaded):
    """With names to leave out alone, everything else comes, by GET and POST."""
    whole = api.get("/collections/s/items/s1").json()
    params = {"collections": "s", "ids": "s1", "fields": "-assets,-properties.platform"}
    item = api.get("/search", params=params).json()["features"][0]
    assert set(whole) - set(item) == {"assets"}
    assert set(whole["properties"]) - set(item["properties"]) == {"platform"}
    fields = {"exclude": ["assets", "properties.platform"]}
    assert api.post("/search", json={"collections": ["s"], "ids": ["s1"], "fields": fields}).json()["features"] == [
        item
    ]


BAD = [
    {"limit": 0},
    {"limit": -1},
    {"limit": "many"},
    {"bbox": [0, 0, 1]},
    {"bbox": ["a", "b", "c", "d"]},
    {"bbox": [0, 10, 1, 5]},
    {"bbox": [0, 0, 1, 1], "intersects": {"type": "Point", "coordinates": [0, 0]}},
    {"intersects": {"type": "Blob"}},
    {"intersects": {"type": "Polygon", "coordinates": []}},
    {"filter": "cloud <"},
    {"filter": {"op": "fly", "args": []}},
    {"filter": {"op": "=", "args": [{"property": "x"}, 10**400]}},
    {"filter": {"op": "=", "args": [{"property": "x"}, 1]}, "filter-crs": "EPSG:3857"},
    {"filter": "s_intersects(geometry, 5)"},
    {"filter": {"op": "s_intersects", "args": [{"property": "geometry"}, {"bbox": [math.nan, 0, 1, 1]}]}},
    {"filter": {"op": "s_intersects", "args": [{"property": "geometry"}, {"bbox": [-1e9, 0, 1e9, 0]}]}},
    {"filter": {"op": "=", "args": [{"property": "x"}] * 2000}},
    {"intersects": {"type": "LineString", "coordinates": [[-5e5, 0], [5e5, 0]]}},
    {"query": {"x": {"fly": 1}}},
    {"query": {"x": {"in": 1}}},
    {"query": {"x": {"contains": 1}}},
    {"query": {"x": 1}},
    {"token": "none"},
    {"token": "WyI4MGYwNjkxNiIsIDAsIDk5OTk5OTk5OTk5OTk5OTk5OTk5OTksIDFd"},
    {"sortby": [{"field": "geometry", "direction": "asc"}]},
    {"ids": "s1"},
    {"collections": 5},
]


@pytest.mark.parametrize("asked", BAD, ids=lambda asked: json.dumps(asked)[:60])
def test_what_cannot_be_understood_is_refused(api, loaded, asked):
    """A search that makes no sense gets 400 and a plain line."""
    answer = api.post("/search", content=json.dumps(asked), headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"code", "description"}
    assert "\n" not in answer.json()["description"]


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": "0"},
        {"bbox": "1,2,3"},
        {"bbox": "a,b,c,d"},
        {"bbox": "nan,0,1,1"},
        {"bbox": "-1e9,0,1e9,0"},
        {"bbox": "inf,0,1,1"},
        {"intersects": "POINT(0 0)"},
        {"intersects": "[1]"},
        {"query": "x"},
        {"query": "[]x"},
        {"filter": "x ="},
        {"filter": "x = 1", "filter-lang": "ecql"},
        {"bbox": "0,0,1,1", "intersects": '{"type": "Point", "coordinates": [0, 0]}'},
    ],
)
def test_what_cannot_be_understood_is_refused_by_get(api, loaded, asked):
    """The same for GET."""
    answer = api.get("/search", params=asked)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"code", "description"}


def test_half_surrogates_in_a_search_are_refused(api, loaded):
    """Escapes that are no text find nothing or are refused, but break nothing."""
    body = b'{"filter": {"op": "=", "args": [{"property": "platform"}, "\\ud800"]}}'
    answer = api.post("/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_large_limits_are_cropped(api, loaded):
    """More Items a page than there may be are not an error."""
    assert len(api.get("/search", params={"collections": "s", "limit": 10**6}).json()["features"]) == len(loaded)
