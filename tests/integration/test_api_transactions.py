"""Publishing through the API: what is written is there, what is refused changes nothing and says why."""

import json
import threading

import pytest

from stac_documents import make_collection, make_item, rectangle

BASE = "http://127.0.0.1:8080"
MERGE, PATCH = {"Content-Type": "application/merge-patch+json"}, {"Content-Type": "application/json-patch+json"}


def without_links(document):
    return {key: value for key, value in document.items() if key != "links"}


@pytest.fixture
def items(collection):
    return f"/collections/{collection}/items"


@pytest.fixture
def a(api, items):
    """The address of an Item `a`."""
    assert api.post(items, json=make_item("a", platform="sentinel-2a")).status_code == 201
    return f"{items}/a"


def code(response, status):
    """The answer is an error of this status with a code and one plain line."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"code", "description"}
    assert "\n" not in response.json()["description"]
    assert "Traceback" not in response.text
    return response.json()["description"]


def test_create_item(api, collection, items):
    """A created Item is answered with its address, and is there as it was sent."""
    sent = make_item("ä 1", note={"b": [1, 2.5, None]})
    made = api.post(items, json=sent)
    assert made.status_code == 201
    assert made.headers["location"] == f"{BASE}{items}/%C3%A4%201"
    got = api.get(made.headers["location"])
    assert got.headers["content-type"] == "application/geo+json"
    assert without_links(got.json()) == without_links(sent) | {"collection": collection}
    assert got.json() == made.json()
    assert {link["rel"] for link in got.json()["links"]} == {"self", "parent", "collection", "root"}


def test_create_refuses_what_is_there_and_where_nothing_is(api, a, items):
    """A second Item of an id is a conflict; an Item without its Collection, or of another one, is refused."""
    before = api.get(a).json()
    assert "one already" in code(api.post(items, json=make_item("a", platform="other")), 409)
    assert api.get(a).json() == before
    assert "no collection 'none'" in code(api.post("/collections/none/items", json=make_item("a")), 404)
    code(api.post(items, json=make_item("b") | {"collection": "other"}), 400)
    code(api.get(f"{items}/none"), 404)
    code(api.get("/collections/none/items/a"), 404)
    code(api.get("/collections/none/items"), 404)


def test_partial_items_are_filled_in(api, items):
    """An Item without links, assets and collection, as the extension allows it, is completed."""
    part = {key: value for key, value in make_item("p").items() if key not in ("links", "assets", "stac_version")}
    assert api.post(items, json=part).status_code == 201
    got = api.get(f"{items}/p").json()
    assert got["assets"] == {}
    assert got["stac_version"] == "1.1.0"


def test_put_replaces_only_what_is_there(api, a, items):
    """PUT replaces the whole of an Item, creates none, and wants the id of its address."""
    assert api.put(a, json=make_item("a", gsd=10)).status_code == 200
    assert api.get(a).json()["properties"] == {"datetime": "2024-05-01T00:00:00Z", "gsd": 10}
    code(api.put(f"{items}/b", json=make_item("b")), 404)
    code(api.put(a, json=make_item("b")), 400)


def test_merge_patch(api, a):
    """A merge patch changes what it names, removes what it gives as null, keeps the rest."""
    patch = {"properties": {"platform": None, "gsd": 10}, "assets": {"new": {"href": "https://example.com/n"}}}
    for headers in (MERGE, {"Content-Type": "application/json"}):
        patched = api.patch(a, json=patch, headers=headers)
        assert patched.status_code == 200
    assert patched.json() == api.get(a).json()
    assert patched.json()["properties"] == {"datetime": "2024-05-01T00:00:00Z", "gsd": 10}
    assert set(patched.json()["assets"]) == {"data", "new"}


def test_json_patch(api, a):
    """A JSON Patch is applied whole, or, where an operation fails, not at all."""
    operations = [
        {"op": "test", "path": "/properties/platform", "value": "sentinel-2a"},
        {"op": "move", "from": "/properties/platform", "path": "/properties/constellation"},
        {"op": "add", "path": "/properties/eo:cloud_cover", "value": 3},
    ]
    assert api.patch(a, json=operations, headers=PATCH).status_code == 200
    expected = {"datetime": "2024-05-01T00:00:00Z", "constellation": "sentinel-2a", "eo:cloud_cover": 3}
    assert api.get(a).json()["properties"] == expected
    assert "operation 0" in code(api.patch(a, json=operations, headers=PATCH), 409)
    failing = [{"op": "remove", "path": "/properties/constellation"}, {"op": "remove", "path": "/none"}]
    assert "operation 1" in code(api.patch(a, json=failing, headers=PATCH), 409)
    assert api.get(a).json()["properties"] == expected


@pytest.mark.parametrize(
    ("patch", "headers", "status"),
    [
        ({"id": "b"}, MERGE, 400),
        ({"collection": "other"}, MERGE, 400),
        ({"geometry": {"type": "Blob"}}, MERGE, 400),
        ({"properties": None}, MERGE, 400),
        ([{"op": "fly", "path": "/id"}], PATCH, 400),
        ([{"op": "remove", "path": "id"}], PATCH, 400),
        ([{"op": "remove", "path": ""}], PATCH, 400),
        ({"properties": {}}, PATCH, 400),
        ([], MERGE, 400),
        ([7], PATCH, 400),
        ("text", MERGE, 400),
        ({"properties": {"x": 1}}, {"Content-Type": "text/plain"}, 415),
    ],
)
def test_patches_that_do_not_serve(api, a, patch, headers, status):
    """A patch that is none, or leaves no valid Item of that address, changes nothing."""
    before = api.get(a).json()
    code(api.patch(a, json=patch, headers=headers), status)
    assert api.get(a).json() == before


def test_patch_of_nothing(api, items):
    """What is not there cannot be patched."""
    code(api.patch(f"{items}/none", json={}, headers=MERGE), 404)


def test_patches_at_the_same_time_are_all_kept(api, a):
    """Twelve patches from four threads, each of another property: all of them are in the end."""

    def patch(thread):
        for number in range(3):
            answer = api.patch(a, json={"properties": {f"p{thread}{number}": 1}}, headers=MERGE)
            assert answer.status_code == 200

    threads = [threading.Thread(target=patch, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {f"p{thread}{number}" for thread in range(4) for number in range(3)}
    assert names <= set(api.get(a).json()["properties"])


def test_delete(api, a):
    """A deleted Item is gone, and can be deleted once."""
    assert api.delete(a).status_code in (200, 204)
    code(api.get(a), 404)
    code(api.delete(a), 404)


def test_etags_guard_writers_from_one_another(api, a):
    """Who names the state that he saw writes only while it lasts: 412 otherwise, for PUT, PATCH and DELETE."""
    first = api.get(a).headers["etag"]
    assert api.get(a).headers["etag"] == first
    second = api.put(a, json=make_item("a", x=1), headers={"If-Match": first}).headers["etag"]
    assert second == api.get(a).headers["etag"] != first
    stale = {"If-Match": first}
    code(api.put(a, json=make_item("a", x=2), headers=stale), 412)
    code(api.patch(a, json={"properties": {"x": 2}}, headers=MERGE | stale), 412)
    code(api.delete(a, headers=stale), 412)
    code(api.delete(a, headers={"If-Match": f"W/{second}"}), 412)
    code(api.delete(a, headers={"If-Match": "no etag"}), 400)
    assert api.get(a).json()["properties"]["x"] == 1
    third = api.patch(a, json={"properties": {"x": 3}}, headers=MERGE | {"If-Match": f'"0", {second}'})
    assert third.status_code == 200
    assert api.delete(a, headers={"If-Match": "*"}).status_code in (200, 204)


def test_unchanged_items_need_not_travel(api, a):
    """Who has an Item's present state is told so instead of being sent it."""
    etag = api.get(a).headers["etag"]
    assert api.get(a, headers={"If-None-Match": etag}).status_code == 304
    api.patch(a, json={"properties": {"x": 1}}, headers=MERGE)
    assert api.get(a, headers={"If-None-Match": etag}).status_code == 200


def test_feature_collections_are_written_whole_or_not_at_all(api, items):
    """Of many Items sent at once one that cannot be created keeps all of them out."""
    page = {"type": "FeatureCollection", "features": [make_item("a"), make_item("b")]}
    assert api.post(items, json=page).status_code == 201
    assert len(api.get(items).json()["features"]) == 2
    code(api.post(items, json=page | {"features": [make_item("c"), make_item("a")]}), 409)
    code(api.post(items, json=page | {"features": [make_item("c"), make_item("c")]}), 409)
    code(api.post(items, json=page | {"features": [make_item("c"), {"id": 5}]}), 400)
    code(api.post(items, json=page | {"features": 5}), 400)
    assert len(api.get(items).json()["features"]) == 2


def test_bulk(api, collection, items):
    """Bulk Items are inserted, or inserted and replaced; all, or none."""
    many = {f"i{number}": make_item(f"i{number}") for number in range(30)}
    made = api.post(f"/collections/{collection}/bulk_items", json={"items": many})
    assert (made.status_code, made.json()) == (200, {"received": 30, "success": 30, "skipped": 0, "errors": []})
    assert api.get(items, params={"limit": 100}).json()["numberMatched"] == 30
    more = {"i0": make_item("i0", x=1), "new": make_item("new")}
    code(api.post(f"/collections/{collection}/bulk_items", json={"items": more, "method": "insert"}), 409)
    code(api.get(f"{items}/new"), 404)
    assert api.post(f"/collections/{collection}/bulk_items", json={"items": more, "method": "upsert"}).is_success
    assert api.get(f"{items}/i0").json()["properties"]["x"] == 1
    assert api.get(f"{items}/new").is_success
    for body in ({"items": []}, {"items": {"a": make_item("b")}}, {"items": {}, "method": "x"}, []):
        code(api.post(f"/collections/{collection}/bulk_items", json=body), 400)


def test_links_of_a_publisher_stay(api, a, items):
    """derived_from and the like come back as sent; links of this server are made anew and not piled up."""
    derived = {"rel": "derived_from", "href": f"{BASE}{a}", "type": "application/geo+json", "title": "source"}
    sent = make_item("result") | {"links": [derived, {"rel": "self", "href": "./result.json"}]}
    api.post(items, json=sent)
    got = api.get(f"{items}/result").json()
    assert [link for link in got["links"] if link["rel"] == "derived_from"] == [derived]
    assert [link["href"] for link in got["links"] if link["rel"] == "self"] == [f"{BASE}{items}/result"]
    etag = api.get(f"{items}/result").headers["etag"]
    api.put(f"{items}/result", json=got)
    again = api.get(f"{items}/result")
    assert again.json() == got
    api.put(f"{items}/result", json=again.json())
    assert api.get(f"{items}/result").headers["etag"] == again.headers["etag"] != etag


def test_collections(api):
    """Collections are created, read, replaced, patched and deleted with their Items; each change has an etag."""
    made = api.post("/collections", json=make_collection("forest", title="Forest"))
    assert made.status_code == 201
    place = made.headers["location"]
    assert place == f"{BASE}/collections/forest"
    assert api.get(place).json() == made.json()
    code(api.post("/collections", json=make_collection("forest")), 409)
    assert api.put(place, json=make_collection("forest", title="Wood")).json()["title"] == "Wood"
    code(api.put("/collections/none", json=make_collection("none")), 404)
    code(api.put(place, json=make_collection("other")), 400)
    patched = api.patch(place, json={"title": None, "keywords": ["trees"]}, headers=MERGE)
    assert (patched.status_code, patched.json()["keywords"]) == (200, ["trees"])
    assert "title" not in api.get(place).json()
    code(api.patch(place, json={"license": None}, headers=MERGE), 400)
    code(api.put(place, json=make_collection("forest"), headers={"If-Match": made.headers["etag"]}), 412)
    assert api.post(f"{place}/items", json=make_item("a")).status_code == 201
    assert api.put(place, json=make_collection("forest")).is_success
    assert api.get(f"{place}/items/a").is_success
    assert api.delete(place).status_code in (200, 204)
    for address in (place, f"{place}/items", f"{place}/items/a"):
        code(api.get(address), 404)
    code(api.delete(place), 404)
    assert api.post("/search", json={"ids": ["a"], "collections": ["forest"]}).json()["features"] == []


def test_each_write_is_in_the_outbox(api, served, collection, items):
    """Followers see each accepted write once, in order, and none that was refused."""
    last = max(row.seq for row in served.outbox(0, 100_000))
    api.post(items, json=make_item("a"))
    api.post(items, json=make_item("a"))
    api.patch(f"{items}/a", json={"properties": {"x": 1}}, headers=MERGE)
    api.put(f"{items}/a", json=make_item("a"), headers={"If-Match": '"0"'})
    api.put(f"{items}/a", json=make_item("a"))
    many = {"type": "FeatureCollection", "features": [make_item("b"), make_item("c")]}
    api.post(items, json=many)
    api.delete(f"{items}/c")
    api.delete(f"/collections/{collection}")
    rows = served.outbox(last, 100)
    assert [(row.op, row.item_id) for row in rows] == [
        ("create", "a"),
        ("replace", "a"),
        ("replace", "a"),
        ("create", "b"),
        ("create", "c"),
        ("delete", "c"),
        ("delete", "a"),
        ("delete", "b"),
        ("delete", None),
    ]
    assert {row.collection_id for row in rows} == {collection}


RING = [[0, 0], [1, 0], [1, 1], [0, 0]]
POISON = {
    "no object": [1],
    "no id": make_item("x") | {"id": None},
    "empty id": make_item("x") | {"id": ""},
    "number for id": make_item("x") | {"id": 7},
    "slash in id": make_item("a/b"),
    "line end in id": make_item("a\nb"),
    "no feature": make_item("x") | {"type": "Collection"},
    "no geometry": {key: value for key, value in make_item("x").items() if key != "geometry"},
    "geometry of no type": make_item("x") | {"geometry": {"type": "Blob", "coordinates": []}},
    "geometry without coordinates": make_item("x") | {"geometry": {"type": "Polygon"}},
    "empty polygon": make_item("x") | {"geometry": {"type": "Polygon", "coordinates": []}},
    "open ring": make_item("x") | {"geometry": {"type": "Polygon", "coordinates": [RING[:3]]}},
    "latitude of 1000": make_item("x") | {"geometry": {"type": "Point", "coordinates": [0, 1000]}},
    "text for a coordinate": make_item("x") | {"geometry": {"type": "Point", "coordinates": ["0", 1]}},
    "flat coordinates": make_item("x") | {"geometry": {"type": "Polygon", "coordinates": [0, 1, 2, 3]}},
    "geometry that is a text": make_item("x") | {"geometry": "POINT (0 0)"},
    "nested geometry collections": make_item("x")
    | {
        "geometry": {
            "type": "GeometryCollection",
            "geometries": [{"type": "GeometryCollection", "geometries": []}],
        }
    },
    "bbox of texts": make_item("x") | {"bbox": ["0", "0", "1", "1"]},
    "bbox of 5": make_item("x") | {"bbox": [0, 0, 1, 1, 1]},
    "no properties": make_item("x") | {"properties": None},
    "no time": make_item("x", datetime=None),
    "no such time": make_item("x", datetime="2024-13-45T00:00:00Z"),
    "number for time": make_item("x", datetime=20240101),
    "ends before it starts": make_item(
        "x", datetime=None, start_datetime="2024-02-01T00:00:00Z", end_datetime="2023-01-01T00:00:00Z"
    ),
    "links that are an object": make_item("x") | {"links": {"rel": "self"}},
    "link without href": make_item("x") | {"links": [{"rel": "derived_from"}]},
    "assets that are a list": make_item("x") | {"assets": [{"href": "x"}]},
    "asset without href": make_item("x") | {"assets": {"a": {}}},
    "roles that are a text": make_item("x") | {"assets": {"a": {"href": "x", "roles": "data"}}},
    "derived from itself": make_item("x")
    | {"links": [{"rel": "self", "href": "https://e.com/x"}, {"rel": "derived_from", "href": "https://e.com/x"}]},
    "half a surrogate pair": make_item("x", title="\ud800"),
}


@pytest.mark.parametrize("name", POISON)
def test_poison_items_are_refused(api, items, name):
    """What is no Item gets 400 and a plain line, and nothing of it is stored."""
    body = json.dumps(POISON[name])
    code(api.post(items, content=body, headers={"Content-Type": "application/geo+json"}), 400)
    assert api.get(items).json()["features"] == []


def test_items_derived_from_their_own_address_are_refused(api, collection, items):
    """An Item that is derived from itself as this server names it would lead its followers in a circle."""
    link = {"rel": "derived_from", "href": f"{BASE}{items}/x"}
    assert "to itself" in code(api.post(items, json=make_item("x") | {"links": [link]}), 400)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"type": NaN}',
        b'{"x": ' * 90 + b"1" + b"}" * 90,
        b"[" * 200_000,
        b'{"x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"x": ' + b"9" * 10_000 + b"}",
    ],
    ids=["empty", "cut off", "no UTF-8", "NaN", "90 deep", "200,000 deep", "5,000 deep", "10,000 digits"],
)
def test_poison_bodies_are_refused(api, items, body):
    """A body that is no JSON, or JSON made to break its readers, gets 400 and blocks nothing."""
    for method, address in (("POST", items), ("PUT", f"{items}/x"), ("POST", "/collections")):
        answer = api.request(method, address, content=body, headers={"Content-Type": "application/json"})
        code(answer, 400)
    answer = api.post("/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 or json.loads(body), answer.text  # what it does not know it leaves aside
    assert api.post(items, json=make_item("fine")).status_code == 201


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Feature"},
        {"id": 5},
        {"id": "a/b"},
        {"license": None},
        {"extent": {}},
        {"links": [{}]},
        {"keywords": "a"},
    ],
)
def test_poison_collections_are_refused(api, change):
    """What is no Collection gets 400."""
    code(api.post("/collections", json=make_collection("poison") | change), 400)
    code(api.get("/collections/poison"), 404)


def test_odd_geometries_are_taken(api, items):
    """No geometry, a point with height, a collection of geometries and one across the antimeridian are fine."""
    geometries = {
        "none": None,
        "high": {"type": "Point", "coordinates": [1, 2, 300]},
        "both": {
            "type": "GeometryCollection",
            "geometries": [rectangle(0, 0, 1, 1), {"type": "Point", "coordinates": [5, 5]}],
        },
        "beyond": rectangle(179, 0, 181, 1),
    }
    for name, geometry in geometries.items():
        sent = make_item(name) | {"geometry": geometry}
        assert api.post(items, json=sent).status_code == 201, name
        assert api.get(f"{items}/{name}").json()["geometry"] == geometry


def test_bodies_say_that_they_are_json(api, items):
    """Other content types get 415: no page of another site can send such a body unasked."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        code(api.post(items, content=b"{}", headers={"Content-Type": kind}), 415)
    assert api.post(items, json=make_item("g"), headers={"Content-Type": "application/geo+json"}).status_code == 201
