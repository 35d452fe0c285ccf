"""The grid of a job: whose it is, where its pixels start, what it covers."""

import numpy as np
import pyproj
import pytest
from affine import Affine

from geodl_core.domain.grid import Grid, bbox_wgs84, cell_area_m2, cell_size, map_to_pixel, outline_wgs84, pixel_to_map
from geodl_core.domain.model.training import TrainedCell
from geodl_core.domain.plan.placing import place
from geodl_core.domain.scene.scene_grid import GridWish, choose_grid, read_cell_size, read_crs
from geodl_core.errors import InputError, ItemError

TEN = Grid("EPSG:32632", (10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0), 900, 840)
SIXTY = Grid("EPSG:32632", (60.0, 0.0, 600000.0, 0.0, -60.0, 5400000.0), 150, 140)


def covers(grid: Grid, other: Grid) -> bool:
    """Whether a grid holds another's outline and no row or column too many."""
    t = np.linspace(0, 1, 400)
    sides = [(t * 0, t), (t * 0 + 1, t), (t, t * 0), (t, t * 0 + 1)]
    places = [
        pixel_to_map(other, r * other.height, c * other.width) for a, b in sides for r, c in zip(a, b, strict=True)
    ]

    brought = pyproj.Transformer.from_crs(other.crs, grid.crs, always_xy=True)
    pixels = np.array([map_to_pixel(grid, *brought.transform(*point)) for point in places])
    low, high = pixels.min(0), pixels.max(0)
    return bool(
        (low > -1e-2).all()
        and (low < 1).all()
        and (high < np.add(grid.shape, 1e-2)).all()
        and (high > np.subtract(grid.shape, 1)).all()
    )


def test_the_finest_band_is_the_grid() -> None:
    """Without a wish the grid is the finest band's own, across CRSs by their size on the ground."""
    assert choose_grid([SIXTY, TEN, SIXTY], GridWish()) == (TEN, "the finest band's own")
    degrees = Grid("EPSG:4326", (2e-5, 0.0, 10.3, 0.0, -2e-5, 48.8), 100, 100)
    mercator = Grid("EPSG:3857", (12.0, 0.0, 1153000.0, 0.0, -12.0, 6230900.0), 100, 100)
    assert choose_grid([TEN, degrees], GridWish())[0] == degrees
    assert choose_grid([TEN, mercator], GridWish())[0] == mercator
    same = Grid("EPSG:32633", (10.0, 0.0, 158900.0, 0.0, -10.0, 5409400.0), 100, 100)
    assert choose_grid([same, TEN], GridWish())[0] == same


@pytest.mark.parametrize("text", ["20", "20m", " 20 M"])
def test_a_cell_size(text: str) -> None:
    """Cells of an asked size start at multiples of it, and cover the scene."""
    grid, why = choose_grid([TEN], GridWish(text))
    assert grid.transform == (20.0, 0.0, 600000.0, 0.0, -20.0, 5400000.0)
    assert grid.shape == (450, 420)
    assert "20" in why
    odd, _ = choose_grid([TEN], GridWish("70"))
    assert cell_size(odd) == (70.0, 70.0)
    assert odd.transform[2] % 70 == odd.transform[5] % 70 == 0
    assert covers(odd, TEN)


@pytest.mark.parametrize("crs", ["EPSG:3857", "4326", "EPSG:32633", "EPSG:3035", "EPSG:2154"])
@pytest.mark.parametrize("size", [None, "25m"])
def test_a_crs(crs: str, size: str | None) -> None:
    """In an asked CRS cells are as large on the ground as the finest band's, or as asked, and cover the scene."""
    grid, why = choose_grid([TEN], GridWish(size, crs))
    assert grid.crs == read_crs(crs)
    assert "CRS" in why
    assert covers(grid, TEN)
    across, _ = cell_size(grid)
    np.testing.assert_allclose(
        np.array(grid.transform[2::3]) / across, np.round(np.array(grid.transform[2::3]) / across)
    )
    near = bbox_wgs84(outline_wgs84(grid))
    np.testing.assert_allclose(near, bbox_wgs84(outline_wgs84(TEN)), atol=0.01)
    area = cell_area(grid)
    assert area == pytest.approx(100 if size is None else 625, rel=0.02)


def cell_area(grid: Grid) -> float:

    area = cell_area_m2(grid)
    assert area is not None
    return area


@pytest.mark.parametrize(
    "snap",
    [
        Grid("EPSG:32632", (30.0, 0.0, 599985.0, 0.0, -30.0, 5400015.0), 10, 10),
        Grid("EPSG:3857", (17.5, 0.0, 3.0, 0.0, -17.5, 4.0), 10, 10),
        Grid("EPSG:32632", tuple(Affine(12, 0, 600600, 0, -12, 5399990) @ Affine.rotation(-30))[:6], 20, 20),
    ],
    ids=["shifted", "mercator", "rotated"],
)
def test_snap(snap: Grid) -> None:
    """A snapped grid has CRS and cells of the raster, and its lines of pixels."""
    grid, _ = choose_grid([TEN], GridWish(snap=snap))
    assert grid.crs == snap.crs
    np.testing.assert_allclose(np.delete(grid.transform, [2, 5]), np.delete(snap.transform, [2, 5]))
    corner = np.array(map_to_pixel(snap, *pixel_to_map(grid, 0, 0)))
    np.testing.assert_allclose(corner, np.round(corner), atol=1e-6)
    assert covers(grid, TEN)


def trained(least: float | None, most: float | None, wkid: int = 32632) -> GridWish:
    cells = tuple(None if size is None else TrainedCell(size, wkid) for size in (least, most))
    return GridWish(trained=cells)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wish", "side", "said"),
    [
        (trained(10, 10), 10, "model knows"),
        (trained(9.7, 9.7), 10, "model knows"),
        (trained(5, 20), 10, "model knows"),
        (trained(None, 20), 10, "model knows"),
        (trained(5, None), 10, "model knows"),
        (trained(30, 30), 30, "trained with cells of 30 m, the finest band has 10 m"),
        (trained(20, 40), 20, "20 to 40 m"),
        (trained(3, 5), 5, "3 to 5 m"),
        (trained(0.3, 0.5), 10, "nothing so fine; --cell-size 0.5m"),
        (trained(30, 30, wkid=102100), 19.8, "30 m"),
        (trained(13, 13, wkid=102100), 10, "model knows"),
        (trained(1.1e-4, 1.1e-4, wkid=4326), 10, "model knows"),
        (trained(5, 5, wkid=1), 10, "finest band's own"),
    ],
)
def test_the_models_cell_size(wish: GridWish, side: float, said: str) -> None:
    """Outside the cell sizes that a model was trained with the grid is made at the nearest of them, within reason."""
    grid, why = choose_grid([TEN, SIXTY], wish)
    assert cell_size(grid)[0] == pytest.approx(side, abs=0.15)
    assert said in why
    if side == 10:
        assert grid == TEN
    else:
        assert covers(grid, TEN)


def test_what_the_user_says_stands_above_the_model() -> None:
    """An asked cell size is taken, whatever the model was trained with."""
    wish = GridWish("20", trained=(TrainedCell(30, 32632), TrainedCell(30, 32632)))
    assert cell_size(choose_grid([TEN], wish)[0]) == (20.0, 20.0)


def test_across_the_antimeridian() -> None:
    """A scene across the antimeridian comes to one grid, its longitudes beyond 180, or is refused where it is torn."""
    scene = Grid("EPSG:32601", (100.0, 0.0, 100000.0, 0.0, -100.0, 1090000.0), 800, 1500)
    degrees, _ = choose_grid([scene], GridWish(crs="EPSG:4326"))
    assert degrees.width < 3000
    west, _, east, _ = bbox_wgs84(outline_wgs84(degrees))
    assert west > 170 > -170 > east - 360
    pacific, _ = choose_grid([scene], GridWish(crs="EPSG:3832"))
    assert covers(pacific, scene)
    with pytest.raises(ItemError, match="does not lie in one piece in EPSG:3857"):
        choose_grid([scene], GridWish(crs="EPSG:3857"))


def test_a_pole() -> None:
    """A scene that holds a pole has no outline in degrees."""
    scene = Grid("EPSG:3031", (1000.0, 0.0, -400000.0, 0.0, -1000.0, 300000.0), 700, 800)
    with pytest.raises(ItemError, match="holds a pole"):
        choose_grid([scene], GridWish(crs="EPSG:4326"))


def test_wishes_that_cannot_be() -> None:
    """Cells larger than the scene, or too many of them, and texts that mean nothing are refused with a hint."""
    with pytest.raises(ItemError, match="larger than the scene") as error:
        choose_grid([TEN], GridWish("20", "EPSG:4326"))
    assert "metres" in str(error.value.hint)
    with pytest.raises(ItemError, match="too many"):
        choose_grid([TEN], GridWish("0.0001"))
    for text in ("", "ten", "-3", "0", "nan", "inf", "5km"):
        with pytest.raises(InputError, match="--cell-size"):
            read_cell_size(text)
    for text in ("EPSG:0", "here", "EPSG:4978", "EPSG:5773"):
        with pytest.raises(InputError, match="--crs"):
            read_crs(text)


def test_rasters_that_do_not_meet() -> None:
    """A raster beside the grid is an error that names its asset and where it lies; one that touches too."""
    for left in (608400.0, 700000.0):
        away = Grid("EPSG:32632", (10.0, 0.0, left, 0.0, -10.0, 5400000.0), 100, 100)
        with pytest.raises(ItemError, match="asset swir: its raster does not meet the grid"):
            place(TEN, away, "swir", "bilinear")
    other = Grid("EPSG:4326", (1e-4, 0.0, -60.0, 0.0, -1e-4, 10.0), 100, 100)
    with pytest.raises(ItemError, match="does not meet"):
        place(TEN, other, "swir", "bilinear")
    near = Grid("EPSG:4326", (1.4e-4, 0.0, 10.37, 0.0, -1.4e-4, 48.74), 100, 100)
    assert place(TEN, near, "swir", "cubic").kind == "cubic"
    assert place(TEN, SIXTY, "swir", "cubic").ratio == 6
    assert place(SIXTY, TEN, "swir", "cubic").kind == "average"
    assert place(SIXTY, TEN, "swir", "nearest").kind == "nearest"
    moved = Grid("EPSG:32632", (10.0, 0.0, 600050.0, 0.0, -10.0, 5400020.0), 900, 840)
    assert place(TEN, moved, "swir", "bilinear").kind == "nearest"
