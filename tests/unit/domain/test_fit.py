"""Whether a scene suits a model: sensor, cell size, values."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from geodl_core.domain.emd.definition import parse_emd
from geodl_core.domain.grid import Grid
from geodl_core.domain.mlm.read import mlm_keys
from geodl_core.domain.model.training import Training, training_of
from geodl_core.domain.scene.fit import ValueFacts, misfits, rescaled, seen_grid, value_facts
from geodl_core.domain.scene.item import Scene

UTM = Grid("EPSG:32633", (10, 0, 500000, 0, -10, 5300000), 100, 100)
"""Cells of 10 m in the middle of a zone."""


def scene_of(**properties: object) -> Scene:
    return Scene("scene", None, (), properties)


def training(bands: tuple[int | str, ...] = (), **keys: Any) -> Training:

    return training_of(parse_emd(json.dumps(keys), "test"), bands)


def sensor(name: str | None, **properties: object) -> tuple[str, ...]:
    return misfits(scene_of(**properties), UTM, {}, (), training(InputRastersProps={"SensorName": name}))


@pytest.mark.parametrize(
    ("name", "properties"),
    [
        ("Sentinel-2", {"platform": "sentinel-2b", "instruments": ["msi"]}),
        ("Sentinel-2 MSI", {"platform": "Sentinel-2B", "constellation": "Sentinel 2"}),
        ("MSI", {"platform": "sentinel-2b", "instruments": ["msi"]}),
        ("Landsat 8", {"platform": "landsat-9", "instruments": ["oli", "tirs"]}),
        ("Landsat-8 OLI/TIRS", {"platform": "landsat-8"}),
        ("WorldView-3", {}),
        ("Raster Dataset", {"platform": "landsat-8"}),
        (None, {"platform": "landsat-8"}),
    ],
)
def test_sensors_that_fit(name: str | None, properties: dict[str, object]) -> None:
    """A sensor fits by platform, constellation or instrument, and where either side says nothing."""
    assert sensor(name, **properties) == ()


@pytest.mark.parametrize(
    ("name", "properties"),
    [
        ("Sentinel-2", {"platform": "landsat-8", "instruments": ["oli", "tirs"]}),
        ("Landsat 5", {"platform": "landsat-9"}),
        ("WorldView-3", {"platform": "sentinel-2b"}),
    ],
)
def test_sensors_that_do_not_fit(name: str, properties: dict[str, object]) -> None:
    """Another sensor is a misfit that names both."""
    (found,) = sensor(name, **properties)
    assert found.startswith(
        f"sensor: the model was made for {name} (SensorName), the Item is of {properties['platform']}"
    )


def test_sensor_of_a_model_that_came_as_an_item() -> None:
    """An Item with the MLM extension names its sensor as STAC does."""
    keys, _ = mlm_keys({"id": "model", "properties": {"constellation": "sentinel-2"}, "assets": {}})
    assert keys["InputRastersProps"] == {"SensorName": "sentinel-2"}
    assert sensor("sentinel-2", platform="sentinel-2c") == ()


def cells(
    size: float, wkid: int | None, grid: Grid = UTM, keys: tuple[str, ...] = ("MinCellSize", "MaxCellSize")
) -> tuple[str, ...]:
    said = {"x": size, "y": size, "spatialReference": {"wkid": wkid, "latestWkid": None}}
    return misfits(scene_of(), grid, {}, (), training(**dict.fromkeys(keys, said)))


@pytest.mark.parametrize(
    ("size", "wkid", "fits"),
    [
        (10, 32633, True),
        (14, 32633, True),
        (30, 32633, False),
        (0.3, 32633, False),
        (1000, None, True),
        (15, 102100, True),
        (60, 102100, False),
        (9e-5, 4326, True),
        (2.7e-4, 4326, False),
        (32.8, 2263, True),
        (5, 999999, True),
    ],
)
def test_cell_sizes(size: float, wkid: int | None, fits: bool) -> None:
    """Cells are compared in metres on the ground, loosely where the definition's depend on the latitude; without a
    CRS that is known they are not."""
    found = cells(size, wkid)
    assert (found == ()) is fits
    if not fits:
        assert found[0].startswith("cell size: the model was made for ")
        assert found[0].endswith(" m (MaxCellSize), the scene has 10 m")


def test_one_limit_alone() -> None:
    """A least cell size alone bounds one side."""
    assert cells(1, 32633, keys=("MinCellSize",)) == ()
    assert cells(1, 32633, keys=("MaxCellSize",)) != ()


def test_resampling_adds_no_detail() -> None:
    """Cells are the job's, unless the finest band's are larger."""
    fine, coarse = (replace(UTM, transform=(size, 0, 500000, 0, -size, 5300000)) for size in (1, 30))
    assert seen_grid(UTM, [fine, coarse]) == UTM
    assert seen_grid(UTM, [coarse]) == coarse


STATS = [{"BandName": name, "Min": 1, "Max": 10000, "Mean": 900, "StdDev": 500} for name in ("B2", "B3", "B4")]


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ((200, 800, 3000), True),
        ((0.02, 0.1, 0.4), False),
        ((12000, 15000, 20000), False),
        ((1, 120, 250), True),
        ((-5, 60, 70), True),
    ],
)
def test_values(values: tuple[float, float, float], fits: bool) -> None:
    """Values outside the training's, or all in the lowest hundredth of their range, are a misfit that names both."""
    known = training(("B2", "B4"), AllTilesStats=STATS)
    found = misfits(scene_of(), UTM, {1: ValueFacts(*values)}, ("B2", "B4"), known)
    assert (found == ()) is fits
    if not fits:
        assert found[0].startswith("values of band B4: the model was made for 1 to 10000 (AllTilesStats), those of the")


def test_which_statistics_are_a_bands() -> None:
    """Statistics belong to a band by name, by number, or by place among as many; a scale's limits serve too."""
    stats = [{"BandName": f"x{number}", "Min": number, "Max": number + 10} for number in range(3)]
    assert training((2, 0), AllTilesStats=stats).ranges == ((2, 12), (0, 10))
    assert training(("x1",), AllTilesStats=stats).ranges == ((1, 11),)
    assert training(("a", "b", "c"), AllTilesStats=stats).ranges == ((0, 10), (1, 11), (2, 12))
    assert training(("a", "b"), AllTilesStats=stats).ranges == ()
    limits = {
        "band_min_values": [0, 1],
        "band_max_values": [5, 6],
        "scaled_mean_values": [0, 0],
        "scaled_std_values": [1, 1],
    }
    assert training(("a", "b"), NormalizationStats=limits).ranges == ((0, 5), (1, 6))
    assert training(("a",), NormalizationStats=limits).ranges == ()
    assert training(("a",)) == Training()


def test_facts() -> None:
    """Facts of values are percentiles, and scale with them, by negative factors too."""
    facts = value_facts(np.arange(101, dtype="uint16"))
    assert facts == ValueFacts(1, 50, 99)
    assert rescaled(facts, -1, 100) == ValueFacts(1, 50, 99)
    assert rescaled(facts, 2, -1) == ValueFacts(1, 99, 197)
    assert value_facts(np.array([], "float32")) is None
