"""Sentinel-2's offset: which rule says whether stored values hold it."""

from dataclasses import replace

import pytest

from geodl_core.domain.scene.item import Band, Scene
from geodl_core.domain.scene.sentinel2 import baseline_of, is_dark, is_sentinel2, offset_doubt, offset_state

RED = Band("red", 0, ("b04", "red"), "B04.tif", "image/tiff", ("data",), 1e-4, -0.1, 0, None, 10, None)
JP2 = replace(RED, asset="red-jp2", href="B04.jp2", media_type="image/jp2")
BARE = replace(RED, scale=None, offset=None)
NEW, OLD = {"s2:processing_baseline": "05.11"}, {"s2:processing_baseline": "02.14"}
APPLIED, NOT_APPLIED = {"earthsearch:boa_offset_applied": True}, {"earthsearch:boa_offset_applied": False}
L2A, C1 = "sentinel-2-l2a", "sentinel-2-c1-l2a"


def scene_of(properties: dict[str, object], collection: str | None = L2A, item_id: str = "scene") -> Scene:
    return Scene(item_id, collection, (), {"platform": "sentinel-2a", **properties})


@pytest.mark.parametrize(
    ("collection", "properties", "band", "held", "why"),
    [
        (C1, NEW, RED, True, "sentinel-2-c1-l2a holds ESA's values"),
        (L2A, {**NEW, **APPLIED}, RED, False, "earthsearch:boa_offset_applied is true"),
        (L2A, {**NEW, "sentinel:boa_offset_applied": True}, RED, False, "sentinel:boa_offset_applied is true"),
        (L2A, {**NEW, **APPLIED}, JP2, True, "the flag speaks of the COGs alone, baseline 05.11"),
        (L2A, {**NEW, **NOT_APPLIED}, RED, True, "baseline 05.11 is 04.00 or later"),
        (L2A, NEW, RED, True, "baseline 05.11 is 04.00 or later"),
        (L2A, {**OLD, **NOT_APPLIED}, RED, False, "baseline 02.14 is from before 04.00"),
        (L2A, OLD, RED, False, "before 04.00"),
        (L2A, NEW, BARE, True, "05.11"),
        (L2A, OLD, BARE, False, "02.14"),
        (L2A, NEW, replace(RED, offset=0.0), False, "gives a scale and no offset"),
        (L2A, {}, RED, True, "the baseline is not known and the bands' metadata gives an offset"),
        (L2A, {}, replace(RED, offset=None), False, "gives a scale and no offset"),
    ],
)
def test_rules(collection: str, properties: dict[str, object], band: Band, held: bool, why: str) -> None:
    """The flag stands above the collection, this above the baseline, this above the bands' metadata."""
    state = offset_state(scene_of(properties, collection), band, "uint16")
    assert state is not None
    assert state.is_held is held
    assert why in state.why


@pytest.mark.parametrize(
    ("band", "dtype", "properties"),
    [
        (BARE, "uint16", {}),
        (RED, "float32", NEW),
        (RED, "uint8", NEW),
        (replace(RED, asset="scl", names=("scl",)), "uint16", NEW),
        (replace(RED, asset="visual"), "uint16", NEW),
        (RED, "uint16", {"platform": "landsat-9"}),
    ],
)
def test_where_no_rule_applies(band: Band, dtype: str, properties: dict[str, object]) -> None:
    """Other sensors, classes, pictures and values that are no whole numbers of two bytes have no such offset."""
    assert offset_state(scene_of(properties), band, dtype) is None


@pytest.mark.parametrize(
    ("properties", "item_id", "baseline"),
    [
        ({"s2:processing_baseline": "05.11"}, "x", (5, 11)),
        ({"s2:processing_baseline": "0400"}, "x", (4, 0)),
        ({"s2:processing_baseline": 5.1}, "x", (5, 10)),
        ({"sentinel2:processing_baseline": "04.00"}, "x", (4, 0)),
        ({"s2:product_uri": "S2A_MSIL2A_20231008T175231_N0509_R141_T13TDE_20231008T233154.SAFE"}, "x", (5, 9)),
        ({"s2:tile_id": "S2B_OPER_MSI_L2A_TL_2BPS_20250731T143919_A043879_T20EPT_N05.11"}, "x", (5, 11)),
        ({"processing:version": "05.10"}, "S2A_MSIL2A_20240108", (5, 10)),
        ({"processing:version": "05.10"}, "mosaic", None),
        ({}, "S2B_MSIL1C_20220110T100000_N0301_R022_T32UQU_20220110T120000", (3, 1)),
        ({"s2:product_uri": "S2A_MSIL2A_20231008T175231_N9999_R141_T13TDE_20231008T233154.SAFE"}, "x", None),
        ({"s2:processing_baseline": "soon"}, "x", None),
    ],
)
def test_baselines(properties: dict[str, object], item_id: str, baseline: tuple[int, int] | None) -> None:
    """A baseline is read from its property, else from the product's name; 99.99 of one's own Sen2Cor says nothing."""
    assert baseline_of(scene_of(properties, None, item_id)) == baseline


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        ({"platform": "Sentinel-2B"}, True),
        ({"platform": None, "constellation": "Sentinel 2"}, True),
        ({"platform": None, "s2:processing_baseline": "05.11"}, True),
        ({"platform": "sentinel-1a"}, False),
        ({"platform": None}, False),
    ],
)
def test_is_sentinel2(properties: dict[str, object], found: bool) -> None:
    """A scene is Sentinel-2's by platform, constellation or a property of its extension."""
    assert is_sentinel2(scene_of(properties)) is found


def test_doubt() -> None:
    """Dark values well below 1000 raise a doubt that names them; those about it do not."""
    assert offset_doubt({"red": 1012.0, "swir16": 963.0}) is None
    assert offset_doubt({}) is None
    doubt = offset_doubt({"red": 1012.0, "swir16": 87.0})
    assert doubt is not None
    assert doubt.endswith("found swir16 87")


def test_dark_bands() -> None:
    """Red and short-wave infrared are dark, by any of their names."""
    assert is_dark(RED)
    assert is_dark(replace(RED, asset="x", names=("band 11",)))
    assert not is_dark(replace(RED, asset="nir", names=("b08",)))
