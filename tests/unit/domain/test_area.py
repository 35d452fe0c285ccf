"""Areas of interest as they come: GeoJSON and bounding boxes, good, odd and hostile."""

import json
import random

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geodl_core.domain.area.area import MAX_VERTICES, Area, area_bbox, area_shape, read_area
from geodl_core.errors import GeodlError, InputError

SQUARE = [[10.0, 48.0], [11.0, 48.0], [11.0, 49.0], [10.0, 49.0], [10.0, 48.0]]
HOLE = [[10.25, 48.25], [10.25, 48.5], [10.5, 48.5], [10.5, 48.25], [10.25, 48.25]]
FAR = [[20.0, 48.0], [21.0, 48.0], [21.0, 49.0], [20.0, 48.0]]


def polygon(*rings: list[list[float]]) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": list(rings)}


def collection(*geometries: object) -> dict[str, object]:
    return {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {}, "geometry": geometry} for geometry in geometries],
    }


def read(document: object) -> Area:
    return read_area(json.dumps(document))


def turned(ring: list[list[float]], by: int) -> list[list[float]]:
    return [*ring[by:-1], *ring[: by + 1]]


@pytest.mark.parametrize(
    "document",
    [
        polygon(SQUARE, HOLE),
        polygon(turned(SQUARE, 2)[::-1], turned(HOLE, 1)),
        {"type": "Feature", "id": 7, "properties": {"name": "x"}, "geometry": polygon(SQUARE, HOLE)},
        collection(polygon(SQUARE, HOLE)),
        collection(None, polygon(SQUARE, HOLE)),
        {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE]]},
        {"type": "GeometryCollection", "geometries": [polygon(SQUARE, HOLE)]},
        polygon([[x, y, 300.0] for x, y in SQUARE], HOLE[:-1]),
        {**polygon(SQUARE, HOLE), "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}},
        {**polygon(SQUARE, HOLE), "crs": {"type": "name", "properties": {"name": "EPSG:4326"}}, "bbox": [1, 2, 3, 4]},
        polygon([[x + 1e-11, y] for x, y in SQUARE], HOLE),
        collection(polygon(SQUARE, HOLE), polygon(SQUARE, HOLE)),
    ],
)
def test_one_area_has_one_text(document: object) -> None:
    """The same polygons give the same text, however they are wrapped, turned, ordered, closed or repeated."""
    assert read(document) == read(polygon(SQUARE, HOLE))


def test_the_order_of_parts_does_not_matter() -> None:
    """Features in another order are the same area, and Windows' byte order mark is none of it."""
    assert read(collection(polygon(FAR), polygon(SQUARE))) == read(collection(polygon(SQUARE), polygon(FAR)))
    assert read_area("\ufeff" + json.dumps(polygon(SQUARE))) == read(polygon(SQUARE))


def test_neighbours_become_one() -> None:
    """Polygons that share a side or overlap are one polygon, without a seam."""
    left = [[10, 48], [10.5, 48], [10.5, 49], [10, 49], [10, 48]]
    right = [[10.5, 48], [11, 48], [11, 49], [10.5, 49], [10.5, 48]]
    wide = [[10.25, 48], [11, 48], [11, 49], [10.25, 49], [10.25, 48]]
    for other in (right, wide):
        shape = area_shape(read(collection(polygon(left), polygon(other))))
        assert shape.geom_type == "Polygon"
        assert shape.equals(shapely.box(10, 48, 11, 49))


def test_a_bow_tie_is_repaired() -> None:
    """A ring that crosses itself becomes the two triangles it draws."""
    area = read(polygon([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]))
    assert area_shape(area).is_valid
    assert area_shape(area).area == pytest.approx(0.5)


def test_a_bounding_box() -> None:
    """WEST,SOUTH,EAST,NORTH is the box's polygon; west > east is the two halves beside the antimeridian."""
    assert read_area(" 10, 48,11,49") == read(polygon(SQUARE))
    area = read_area("177,-20,-178,-15")
    assert area_shape(area).equals(shapely.union(shapely.box(177, -20, 180, -15), shapely.box(-180, -20, -178, -15)))
    assert area_bbox(area) == (177, -20, -178, -15)
    assert area_bbox(read_area("-180,-90,180,90")) == (-180, -90, 180, 90)
    assert area_shape(read_area("180,0,-170,1")).equals(shapely.box(-180, 0, -170, 1))


@st.composite
def scribbles(draw: st.DrawFn) -> dict[str, object]:
    """Polygons of any kind: crossing themselves, overlapping, flat."""
    coordinate = st.one_of(st.integers(-5, 5), st.floats(-5, 5))
    ring = st.lists(st.tuples(coordinate, coordinate).map(list), min_size=3, max_size=8)
    return collection(*(polygon(ring) for ring in draw(st.lists(ring, min_size=1, max_size=4))))


@settings(deadline=None)
@given(scribbles())
def test_reading_is_idempotent_and_valid(document: dict[str, object]) -> None:
    """Whatever is drawn, the area is valid and reads back as itself, or there is an InputError."""
    try:
        area = read(document)
    except InputError:
        return
    assert area_shape(area).is_valid
    assert read_area(area.geojson) == area


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected GeoJSON"),
        ("area.geojson", "expected GeoJSON"),
        ("1,2,3", "expected GeoJSON"),
        ("1,2,3,4,5", "expected GeoJSON"),
        ("1,nan,3,4", "south < north"),
        ("1,2,inf,4", "south < north"),
        ("1,5,3,4", "south < north"),
        ("1,2,1,4", "south < north"),
        ("170,2,190,4", "south < north"),
        ("180,0,-180,1", "south < north"),
        ("{", "not JSON"),
        ('{"type":' * 100_000, "not JSON"),
        ('{"a":' + "1" * 5000 + "}", "not JSON"),
        ("{}", "found None"),
        ('{"type": "Topology"}', "found 'Topology'"),
        ('{"type": ["Polygon"]}', "found a list"),
        ('{"type": "Feature", "geometry": null}', "no polygon"),
        ('{"type": "FeatureCollection"}', "list of features"),
        ('{"type": "FeatureCollection", "features": [3]}', "feature 0: expected a Polygon or MultiPolygon, found 3"),
        ('{"type": "Point", "coordinates": [1, 2]}', "found 'Point'"),
        ('{"type": "LineString", "coordinates": [[1, 2], [3, 4]]}', "found 'LineString'"),
        ('{"type": "Polygon"}', "list of coordinates"),
        ('{"type": "Polygon", "coordinates": []}', "no polygon"),
        ('{"type": "Polygon", "coordinates": [[]]}', "four positions"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}', "four positions"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}', "with an area"),
        ('{"type": "Polygon", "coordinates": [3]}', "lists of rings"),
        ('{"type": "Polygon", "coordinates": [[1, 2, 3, 4]]}', "two numbers"),
        ('{"type": "Polygon", "coordinates": [[["0", "0"], ["1", "1"], ["0", "1"]]]}', "two numbers"),
        ('{"type": "Polygon", "coordinates": [[[true, 0], [1, 1], [0, 1]]]}', "two numbers"),
        ('{"type": "Polygon", "coordinates": [[[NaN, 0], [1, 1], [0, 1]]]}', "within ±180"),
        ('{"type": "Polygon", "coordinates": [[[1e999, 0], [1, 1], [0, 1]]]}', "within ±180"),
        ('{"type": "Polygon", "coordinates": [[[1' + "0" * 400 + ", 0], [1, 1], [0, 1]]]}", "within ±180"),
        ('{"type": "Polygon", "coordinates": [[[600000, 5400000], [1, 1], [0, 1]]]}', "within ±180"),
        ('{"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection"}]}', "'GeometryCollection'"),
    ],
)
def test_what_is_no_area(text: str, said: str) -> None:
    """What is no area is an InputError that says what was found, in one short line."""
    with pytest.raises(InputError, match=said) as caught:
        read_area(text)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("shift", [179.5, -180.5])
def test_longitudes_beyond_the_antimeridian_have_a_hint(shift: float) -> None:
    """A polygon drawn across the antimeridian in one piece is refused with the way out, however it is written."""
    beyond = [[x - 10 + shift, y] for x, y in SQUARE]
    around = [[(x + 180) % 360 - 180, y] for x, y in beyond]
    for ring in (beyond, around):
        with pytest.raises(InputError) as caught:
            read(polygon(ring))
        assert "west > east" in (caught.value.hint or "")


@pytest.mark.parametrize("crs", [{"type": "name", "properties": {"name": "EPSG:3857"}}, "EPSG:3857", {"properties": 3}])
def test_another_crs_is_refused(crs: object) -> None:
    """Coordinates in another CRS than longitude and latitude are refused with the way to reproject them."""
    with pytest.raises(InputError, match="longitude and latitude") as caught:
        read({**polygon(SQUARE), "crs": crs})
    assert "ogr2ogr" in (caught.value.hint or "")


@pytest.mark.timeout(20)
def test_sizes_are_bounded() -> None:
    """Too many vertices, and polygons that cross each other without end, are refused before they are worked on."""
    with pytest.raises(InputError, match="vertices"):
        read(polygon([[0.0, 0.0]] * (MAX_VERTICES + 1)))
    tangle = np.random.default_rng(0).random((20_000, 2)).tolist()
    with pytest.raises(InputError, match="cross each other"):
        read(polygon(tangle))


def test_hostile_documents() -> None:
    """Documents whose values are exchanged at random raise only geodl's errors."""
    chance = random.Random(0)
    values = [None, True, 0, -1, 1e300, "x", [], {}, [[]], [[[0, 0]]], "Polygon", SQUARE, polygon(SQUARE)]

    def disturbed(value: object) -> object:
        if chance.random() < 0.07:
            return chance.choice(values)
        if isinstance(value, dict):
            return {key: disturbed(member) for key, member in value.items()}
        return [disturbed(member) for member in value] if isinstance(value, list) else value

    for _ in range(2000):
        try:
            read({"crs": None, **disturbed(collection(polygon(SQUARE, HOLE), polygon(FAR)))})  # type: ignore[dict-item]
        except GeodlError as error:
            assert isinstance(error, InputError)
        except TypeError as error:
            assert "mapping" in str(error)  # the document itself was exchanged
