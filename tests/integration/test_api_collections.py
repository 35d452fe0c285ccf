"""The landing page, searching Collections, what can be asked, and numbers over searches."""

from collections import Counter

import pystac
import pytest
from pystac.validation import validate_dict

from stac_documents import make_collection, make_item

SORT = [f"https://api.stacspec.org/v1.{minor}.0/item-search#sort" for minor in (0, 1)]


@pytest.fixture(scope="module")
def loaded(api):
    """Three Collections, apart in space, time and words; Items of one of them."""

    def extent(boxes, interval):
        return {"spatial": {"bbox": boxes}, "temporal": {"interval": [interval]}}

    europe = extent([[0, 40, 20, 60]], ["2015-01-01T00:00:00Z", "2019-12-31T00:00:00Z"])
    fiji = extent([[176, -20, -178, -15]], ["2018-01-01T00:00:00Z", None])
    # The first of several boxes is that of all; nothing is between its parts.
    islands = extent([[-70, -40, 120, 10], [-70, -40, -60, -30], [110, 0, 120, 10]], [None, "2010-12-31T00:00:00Z"])
    api.post("/collections", json=make_collection("a-europe", title="Forests", keywords=["trees"], extent=europe))
    api.post("/collections", json=make_collection("b-fiji", title="Reefs", description="Corals of Fiji", extent=fiji))
    api.post("/collections", json=make_collection("c-islands", title="Atolls", extent=islands))
    features = []
    for number in range(40):
        properties = {"eo:cloud_cover": number * 2.5, "platform": f"p{number % 3}", "grid:code": f"G-{number % 7}"}
        if number % 10 == 0:
            properties = {"eo:cloud_cover": "much"}
        item = make_item(f"i{number}", (number, 0, number + 1, 1), **properties)
        item["properties"]["datetime"] = f"{1968 + number // 10}-{number % 12 + 1:02}-01T00:00:00.500000Z"
        features.append(item)
    page = {"type": "FeatureCollection", "features": features}
    assert api.post("/collections/a-europe/items", json=page).status_code == 201
    return features


def found(api, **asked):
    answer = api.get("/collections", params=asked)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["collections"]]


ALL = ["a-europe", "b-fiji", "c-islands"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ALL),
        ({"bbox": "10,50,11,51"}, ["a-europe"]),
        ({"bbox": "179,-18,-179,-17"}, ["b-fiji"]),
        ({"bbox": "20,-20,30,-10"}, []),
        ({"bbox": "115,5,0,116,6,100"}, ["c-islands"]),
        ({"datetime": "2016-01-01T00:00:00Z"}, ["a-europe"]),
        ({"datetime": "2030-01-01T00:00:00Z/.."}, ["b-fiji"]),
        ({"datetime": "../2012-01-01T00:00:00Z"}, ["c-islands"]),
        ({"q": "corals"}, ["b-fiji"]),
        ({"q": "trees,atolls"}, ["a-europe", "c-islands"]),
        ({"q": "coral"}, []),
        ({"sortby": "title"}, ["c-islands", "a-europe", "b-fiji"]),
        ({"sortby": "-id"}, ALL[::-1]),
        ({"q": "reefs,forests", "sortby": "-title", "bbox": "-180,-90,180,90"}, ["b-fiji", "a-europe"]),
    ],
)
def test_collection_search(api, loaded, asked, expected):
    """Collections are found by place, time and words, and come in the order asked for."""
    assert found(api, **asked) == expected


def test_collection_pages(api, loaded):
    """Next links lead through all Collections, prev links back."""
    page = api.get("/collections", params={"limit": 2, "sortby": "-id"}).json()
    assert (page["numberMatched"], page["numberReturned"]) == (3, 2)
    links = {link["rel"]: link["href"] for link in page["links"]}
    rest = api.get(links["next"]).json()
    assert [one["id"] for one in page["collections"] + rest["collections"]] == ALL[::-1]
    links = {link["rel"]: link["href"] for link in rest["links"]}
    assert "next" not in links
    assert api.get(links["prev"]).json()["collections"] == page["collections"]


def test_collection_fields(api, loaded):
    """Of each Collection the asked parts come."""
    shown = api.get("/collections", params={"fields": "id,links"}).json()["collections"]
    assert {frozenset(one) for one in shown} == {frozenset({"id", "links"})}


@pytest.mark.parametrize(
    "asked", [{"bbox": "1,2"}, {"bbox": "0,9,1,1"}, {"datetime": "soon"}, {"token": "x"}, {"limit": "0"}]
)
def test_collection_searches_that_make_no_sense(api, asked):
    """What cannot be understood gets 400."""
    assert api.get("/collections", params=asked).status_code == 400


def test_landing_page(api):
    """The landing page is a STAC Catalog whose links lead somewhere, and says what the API can do."""
    page = api.get("/").json()
    assert pystac.Catalog.from_dict(page, preserve_dict=True).id == "geodl"
    assert set(SORT) <= set(page["conformsTo"])
    assert page["conformsTo"] == api.get("/conformance").json()["conformsTo"]
    words = ("#filter", "#query", "#fields", "#free-text", "transaction", "collection-search", "aggregation")
    assert all(any(word in one for one in page["conformsTo"]) for word in words)
    for link in page["links"]:
        body = {} if link.get("method") == "POST" else None
        assert api.request(link.get("method", "GET"), link["href"], json=body).status_code == 200, link


def test_documents_are_valid(api, loaded):
    """Collections and Items as served are valid STAC."""
    assert validate_dict(api.get("/collections/a-europe").json())
    assert validate_dict(api.get("/collections/a-europe/items/i1").json())


def test_openapi(api):
    """Every route is described, path parameters and bodies included."""
    answer = api.get("/api")
    assert answer.headers["content-type"].startswith("application/vnd.oai.openapi+json")
    paths = answer.json()["paths"]
    for path, methods in paths.items():
        for described in methods.values():
            names = {one["name"] for one in described.get("parameters", ()) if one["in"] == "path"}
            assert names == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path
    assert {"get", "post"} <= set(paths["/collections/{collection_id}/items"])
    assert {"get", "put", "patch", "delete"} == set(paths["/collections/{collection_id}/items/{item_id}"])


def test_queryables_and_sortables(api, loaded):
    """Both are JSON schemas at the address that they name; numbers are numbers; other properties may be asked for."""
    for kind in ("queryables", "sortables"):
        for place in (f"/{kind}", f"/collections/a-europe/{kind}"):
            schema = api.get(place).json()
            assert schema["$id"] == f"http://127.0.0.1:8080{place}"
            assert schema["properties"]["eo:cloud_cover"]["type"] == "number"
            assert schema["additionalProperties"] is True
        assert api.get(f"/collections/none/{kind}").status_code == 404
    assert api.get("/queryables").headers["content-type"] == "application/schema+json"
    assert "title" in api.get("/collections-sortables").json()["properties"]


def aggregate(api, names, place="/aggregate", **asked):
    by_get = api.get(place, params={"aggregations": ",".join(names)} | asked)
    assert by_get.status_code == 200, by_get.text
    body = {name: value.split(",") if name == "collections" else value for name, value in asked.items()}
    by_post = api.post(place, json={"aggregations": names} | body)
    assert by_post.json() == by_get.json()
    return {one["name"]: one for one in by_get.json()["aggregations"]}


def bars(aggregation):
    return {one["key"]: one["frequency"] for one in aggregation["buckets"]}


def test_aggregation(api, loaded):
    """Counts, times and histograms are those that counting by hand gives."""
    asked = ["total_count", "datetime_min", "datetime_max", "platform_frequency", "grid_code_frequency"]
    got = aggregate(api, asked, collections="a-europe")
    properties = [item["properties"] for item in loaded]
    times = sorted(one["datetime"] for one in properties)
    assert got["total_count"]["value"] == 40
    assert (got["datetime_min"]["value"], got["datetime_max"]["value"]) == (times[0], times[-1])
    for name, key in (("platform_frequency", "platform"), ("grid_code_frequency", "grid:code")):
        assert bars(got[name]) == Counter(one[key] for one in properties if key in one)
        assert got[name]["overflow"] == 0


@pytest.mark.parametrize(("interval", "digits"), [("year", 4), ("month", 7), ("day", 10)])
def test_histograms_over_time(api, loaded, interval, digits):
    """Bars start where years, months or days start, before 1970 too."""
    got = aggregate(
        api, ["datetime_frequency"], "/collections/a-europe/aggregate", datetime_frequency_interval=interval
    )
    rest = "0000-01-01T00:00:00Z"[digits:]
    assert bars(got["datetime_frequency"]) == Counter(item["properties"]["datetime"][:digits] + rest for item in loaded)


def test_histogram_of_clouds(api, loaded):
    """Cloud cover is counted in ten bars from 0 to 100 per cent; what is no number is left out."""
    got = aggregate(api, ["cloud_cover_frequency"], collections="a-europe")["cloud_cover_frequency"]
    numbers = [cloud for item in loaded if isinstance(cloud := item["properties"]["eo:cloud_cover"], float)]
    expected = Counter(f"{int(cloud // 10) * 10}-{int(cloud // 10) * 10 + 10}" for cloud in numbers)
    assert {key: count for key, count in bars(got).items() if count} == expected
    assert [(one["from"], one["to"]) for one in got["buckets"]] == [(low, low + 10) for low in range(0, 100, 10)]


def test_aggregation_of_a_search(api, loaded):
    """Conditions restrict what is counted; of nothing there is no first time."""
    got = aggregate(
        api, ["total_count", "collection_frequency"], filter="platform = 'p1'", **{"filter-lang": "cql2-text"}
    )
    expected = sum(item["properties"].get("platform") == "p1" for item in loaded)
    assert got["total_count"]["value"] == expected
    assert bars(got["collection_frequency"]) == {"a-europe": expected}
    nothing = aggregate(api, ["total_count", "datetime_min"], collections="b-fiji")
    assert (nothing["total_count"]["value"], nothing["datetime_min"]["value"]) == (0, None)


def test_aggregations_are_listed(api, loaded):
    """Each aggregation that is offered can be asked for; others get 400."""
    offered = [one["name"] for one in api.get("/aggregations").json()["aggregations"]]
    assert "total_count" in offered
    assert list(aggregate(api, offered)) == offered
    assert api.get("/aggregate", params={"aggregations": "none"}).status_code == 400
    assert api.get("/aggregate", params={"datetime_frequency_interval": "eon"}).status_code == 400
    assert api.get("/collections/none/aggregate").status_code == 404
    assert api.get("/collections/none/aggregations").status_code == 404
