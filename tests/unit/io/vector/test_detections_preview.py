"""Pictures of found objects: each seen, in the colour of its class, however small or many."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.errors import NotGeoreferencedWarning

from geodl_core.domain.classes import ClassEntry
from geodl_core.domain.detection.detections import Detections, no_detections
from geodl_core.domain.grid import map_to_pixel
from geodl_core.domain.plan.plan import BandSource, Plan, pack_live
from geodl_core.errors import StoreError
from geodl_core.io.cog.preview import PREVIEW_PX
from geodl_core.io.scene.raster import raster_facts
from geodl_core.io.vector.background import scene_background
from geodl_core.io.vector.preview import (
    BOLD_PX,
    DIMMED,
    DOT_PX,
    EDGE,
    LEAST_OUTLINE_PX,
    MOST_DRAWN,
    PLAIN,
    write_detections_preview,
)

CLASSES = (
    ClassEntry(3, "car", (255, 190, 0)),
    ClassEntry(7, "ship", (0, 200, 255)),
    ClassEntry(-1, "x", (220, 30, 90)),
)
COLOURS = {entry.value: entry.color for entry in CLASSES}


def detections_of(boxes: np.ndarray, ids: np.ndarray, outlines: np.ndarray | None = None) -> Detections:
    count = len(boxes)
    return Detections(
        np.asarray(boxes, np.float32),
        np.ones(count, np.float32),
        np.asarray(ids, np.int32),
        np.zeros(count, np.int32),
        np.zeros(count, np.uint8),
        outlines,
    )


def random_boxes(count: int, shape: tuple[int, int], longest: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sides = 1 + rng.random((count, 2)) * longest
    corners = rng.random((count, 2)) * (np.array(shape[::-1]) - sides)
    return np.hstack([corners, corners + sides]).astype(np.float32)


def picture_of(path: Path) -> np.ndarray:
    """Return (h, w, 3)."""
    with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as picture:
            return np.moveaxis(picture.read(), 0, -1)


def drawn(folder: Path, detections: Detections, shape: tuple[int, int], ground: np.ndarray | None = None) -> np.ndarray:
    write_detections_preview(folder / "p.png", ground, detections, CLASSES, shape)
    return picture_of(folder / "p.png")


def painted_by_hand(boxes: np.ndarray, ids: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the picture of boxes at a scale of 1, pixel by pixel, the largest first."""
    picture = np.full((*shape, 3), PLAIN, np.uint8)
    is_drawn = np.zeros(shape, bool)
    boxes = boxes.astype(np.float64)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for row in sorted(range(len(boxes)), key=lambda row: -areas[row]):
        x0, y0, x1, y1 = boxes[row]
        left, top, right, bottom = int(x0), int(y0), int(np.ceil(x1)) - 1, int(np.ceil(y1)) - 1
        pixels = {(y, x) for y in range(top, bottom + 1) for x in range(left, right + 1)}
        if max(x1 - x0, y1 - y0) >= LEAST_OUTLINE_PX:
            pixels = {(y, x) for y, x in pixels if y in (top, bottom) or x in (left, right)}
        if min(x1 - x0, y1 - y0) >= BOLD_PX:
            pixels = {(y + down, x + along) for y, x in pixels for down in (0, 1) for along in (0, 1)}
        for y, x in pixels:
            if y < shape[0] and x < shape[1]:
                picture[y, x], is_drawn[y, x] = COLOURS[int(ids[row])], True
    for y, x in np.ndindex(shape):
        if not is_drawn[y, x] and is_drawn[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any():
            picture[y, x] = EDGE
    return picture


@pytest.mark.parametrize("seed", range(4))
def test_boxes(tmp_path: Path, seed: int) -> None:
    """Boxes are drawn as they are painted pixel by pixel: outlines, bold ones if large, small ones filled."""
    boxes = random_boxes(60, (120, 150), 40, seed)
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes[(sides >= DOT_PX).all(axis=1)]
    ids = np.random.default_rng(seed).choice([3, 7, -1], len(boxes))
    found = drawn(tmp_path, detections_of(boxes, ids), (120, 150))
    np.testing.assert_array_equal(found, painted_by_hand(boxes, ids, (120, 150)))


@pytest.mark.parametrize("shape", [(1, 1), (30, 1025), (5000, 40), (10000, 8000)])
def test_small_objects_show_in_large_scenes(tmp_path: Path, shape: tuple[int, int]) -> None:
    """An object of a pixel is a dot of three pixels, as far as the picture reaches, at its place."""
    row, col = shape[0] // 3, shape[1] // 2
    found = drawn(tmp_path, detections_of(np.array([[col, row, col + 1, row + 1]]), np.array([7])), shape)
    scale = min(1, PREVIEW_PX / max(shape))
    assert found.shape == (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)), 3)
    rows, cols = np.nonzero((found == COLOURS[7]).all(axis=-1))
    places = ((row + 0.5) * found.shape[0] / shape[0], (col + 0.5) * found.shape[1] / shape[1])
    for seen, place, side in zip((rows, cols), places, found.shape[:2], strict=True):
        assert set(seen) == {int(place) + step for step in (-1, 0, 1)} & set(range(side))
    assert len(rows) == len(set(rows)) * len(set(cols))


def test_outlines(tmp_path: Path) -> None:
    """Polygons, their holes and parts are drawn along their boundaries, and nowhere else."""
    shape = 1500, 1800
    polygons = np.array(
        [
            shapely.Point(400, 400).buffer(300).difference(shapely.Point(420, 380).buffer(120)),
            shapely.MultiPolygon([shapely.box(900, 200, 1100, 500), shapely.Point(1400, 300).buffer(90)]),
            shapely.Polygon([(300, 900), (1500, 1000), (1600, 1400), (350, 1300)]),
        ],
        object,
    )
    ids = np.array([3, 7, -1])
    found = drawn(tmp_path, detections_of(shapely.bounds(polygons), ids, polygons), shape)
    scale = found.shape[1] / shape[1]
    for polygon, value in zip(polygons, ids, strict=True):
        boundary = shapely.transform(polygon, lambda points: points * scale).boundary
        rows, cols = np.nonzero((found == COLOURS[int(value)]).all(axis=-1))
        pixels = shapely.points(cols + 0.5, rows + 0.5)
        assert shapely.distance(pixels, boundary).max() <= 2.2
        along = shapely.line_interpolate_point(boundary, np.linspace(0, boundary.length, 2000))
        assert shapely.distance(along, shapely.MultiPoint(pixels)).max() <= 1


def test_very_many_objects(tmp_path: Path) -> None:
    """Objects without number are shown as density: the class's colour where they crowd, the ground where none is."""
    shape = 2000, 2000
    rng = np.random.default_rng(0)
    count = MOST_DRAWN + 1
    centres = rng.normal((500, 500), 100, (count, 2)).clip(0, 990)
    boxes = np.hstack([centres, centres + 4])
    ground = rng.integers(0, 256, (1024, 1024, 3), np.uint8)
    found = drawn(tmp_path, detections_of(boxes, np.full(count, 7)), shape, ground)
    dimmed = np.rint(ground * DIMMED).astype(np.uint8)
    np.testing.assert_array_equal(found[600:], dimmed[600:])
    np.testing.assert_array_equal(found[:, 600:], dimmed[:, 600:])
    crowd = np.abs(found[220:290, 220:290].astype(int) - COLOURS[7]).max(axis=-1)
    assert (crowd < 40).mean() > 0.9
    few = drawn(tmp_path, detections_of(boxes[:100], np.full(100, 7)), shape, ground)
    assert (few == COLOURS[7]).all(axis=-1).sum() >= 400


def test_a_rare_class_among_many(tmp_path: Path) -> None:
    """Where classes crowd, their colours mix by number."""
    boxes = np.tile([[500, 500, 504, 504]], (MOST_DRAWN * 2, 1))
    ids = np.where(np.arange(len(boxes)) % 4 == 0, 7, 3)
    found = drawn(tmp_path, detections_of(boxes, ids), (1024, 1024))
    expected = 0.75 * np.array(COLOURS[3]) + 0.25 * np.array(COLOURS[7])
    assert np.abs(found[502, 502] - expected).max() <= 1


def test_ground(tmp_path: Path) -> None:
    """The ground is stretched over the picture, whatever its size; without one it is plain."""
    quarters = np.array([[[200, 0, 0], [0, 200, 0]], [[0, 0, 200], [100, 100, 100]]], np.uint8)
    found = drawn(tmp_path, no_detections(), (300, 200), quarters)
    np.testing.assert_array_equal(found, np.rint(quarters.repeat(150, 0).repeat(100, 1) * DIMMED).astype(np.uint8))
    large = np.zeros((4000, 3000, 3), np.uint8)
    assert drawn(tmp_path, no_detections(), (300, 200), large).shape == (300, 200, 3)
    assert (drawn(tmp_path, no_detections(), (300, 200)) == PLAIN).all()


def test_classes_that_the_model_does_not_name(tmp_path: Path) -> None:
    """An object of an unknown class is drawn too, in the colour of edges."""
    found = drawn(tmp_path, detections_of(np.array([[20, 20, 60, 70]]), np.array([99])), (100, 100))
    assert {tuple(pixel) for pixel in found.reshape(-1, 3)} == {EDGE, (PLAIN,) * 3}
    assert tuple(found[20, 40]) == EDGE


def test_objects_that_reach_over_the_border(tmp_path: Path) -> None:
    """What lies over the scene's border is drawn along it."""
    outside = np.array([[-50, 20, 30, 40], [80, 90, 200, 300]])
    found = drawn(tmp_path, detections_of(outside, np.array([3, 7])), (100, 100))
    assert (found[25:35, 0] == COLOURS[3]).all()
    assert (found[99, 85:] == COLOURS[7]).all()


@pytest.mark.parametrize("count", [0, 500, MOST_DRAWN + 1])
def test_the_same_bytes(tmp_path: Path, count: int) -> None:
    """The same objects give the same bytes, whatever the file is called, and nothing lies beside it."""
    boxes = random_boxes(count, (700, 900), 60)
    some = detections_of(boxes, np.random.default_rng(1).choice([3, 7, -1], count))
    for name in ("a", "b"):
        write_detections_preview(tmp_path / f"{name}.png", None, some, CLASSES, (700, 900))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """Without a place for the picture, the error is a StoreError."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        write_detections_preview(tmp_path / "file" / "p.png", None, no_detections(), CLASSES, (10, 10))


@pytest.mark.shared
def test_cars_of_a_real_picture(tmp_path: Path, shared: Path) -> None:
    """Every car of a picture from the air has its box in its colour, and the ground is the picture's."""
    folder = shared / "data" / "oam_manila_cars"
    (tif,) = folder.glob("*.tif")
    grid = raster_facts(str(tif), "image").grid
    sources = tuple(BandSource("image", str(tif), band, "uint8", None, 1) for band in range(3))
    plan = Plan("j", grid, grid.shape, 0, 1, 0, "reflect", sources, "uint8", pack_live(np.ones(1, bool)))
    shapes = [
        shapely.geometry.shape(one["geometry"]).bounds
        for one in json.loads((folder / "cars.geojson").read_text())["features"]
    ]
    corners = [
        (*map_to_pixel(grid, west, north)[::-1], *map_to_pixel(grid, east, south)[::-1])
        for west, south, east, north in shapes
    ]
    ground = scene_background(plan)
    found = drawn(tmp_path, detections_of(np.array(corners), np.full(len(corners), 7)), grid.shape, ground)
    scale = found.shape[0] / grid.height
    is_car = (found == COLOURS[7]).all(axis=-1)
    for x0, y0, x1, y1 in np.array(corners) * scale:
        top, bottom, left, right = int(y0), int(np.ceil(y1)), int(x0), int(np.ceil(x1))
        assert is_car[top, left:right].all()
        assert is_car[top:bottom, left].all()
    elsewhere = np.ones(is_car.shape, bool)
    elsewhere[: int(1000 * scale), int(1400 * scale) :] = False
    np.testing.assert_array_equal(found[elsewhere], np.rint(ground[elsewhere] * DIMMED).astype(np.uint8))
