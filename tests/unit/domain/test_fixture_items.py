"""Items of public catalogues: which asset is which band, and what is done to its values, as stac.md C.4 has it."""

import json
from pathlib import Path
from typing import Any

import pytest

from geodl_core.domain.model.scaling import Scaling
from geodl_core.domain.scene.bands import choose_bands
from geodl_core.domain.scene.item import Band, Scene, read_scene
from geodl_core.domain.scene.radiometry import choose_radiometry
from geodl_core.errors import ItemError

pytestmark = pytest.mark.shared

FOUR = ("Red", "Green", "Blue", "NearInfrared")
NINE = ("B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12")
COLOURS = "red green blue nir"
SENTINEL = "blue green red rededge1 rededge2 rededge3 nir08 swir16 swir22"
S2, NOT_S2 = 1e-4, "no band B02"
HELD, GONE = -0.1, 0.0
ITEMS: dict[str, tuple[str, str | None, tuple[float, float] | None, str]] = {
    "earthsearch-v1_sentinel-2-c1-l2a_S2B_T20EPT_20250731": (
        COLOURS,
        SENTINEL,
        (S2, HELD),
        "c1-l2a holds ESA's values",
    ),
    "earthsearch-v1_sentinel-2-l2a_S2B_20EPT_20250731": (COLOURS, SENTINEL, (S2, GONE), "boa_offset_applied is true"),
    "earthsearch-v1_sentinel-2-l2a_S2A_13TDE_20231008": (COLOURS, SENTINEL, (S2, GONE), "boa_offset_applied is true"),
    "earthsearch-v1_sentinel-2-l1c_S2B_20EPT_20250731": (COLOURS, SENTINEL, (S2, HELD), "baseline 05.11 is 04.00 or"),
    "planetary-computer_sentinel-2-l2a_S2B_T13TDE_20240825": (
        "B04 B03 B02 B08",
        "B02 B03 B04 B05 B06 B07 B8A B11 B12",
        (S2, HELD),
        "baseline 05.11 is 04.00 or later",
    ),
    "stac-task_payload_sentinel2-l2a-j2k": (COLOURS, SENTINEL, (S2, HELD), "baseline 04.00 is 04.00 or later"),
    "stactools_sentinel2_T01WCP_antimeridian": (COLOURS, SENTINEL, (S2, HELD), "baseline 05.09 is 04.00 or later"),
    "stactools_sentinel2_T34VEL_stac-1.1": (COLOURS, SENTINEL, (S2, HELD), "baseline 05.10 is 04.00 or later"),
    "earthsearch-v1_landsat-c2-l2_LC08_033032_20231008": (
        "red green blue nir08",
        None,
        (2.75e-5, -0.2),
        "scale and offset of the Item",
    ),
    "planetary-computer_landsat-c2-l2": ("red green blue nir08", None, (2.75e-5, -0.2), "scale and offset of the Item"),
    "planetary-computer_naip": ("image image image image", None, None, "values as stored"),
}
"""File → assets of the four bands and of the nine, scale and offset of reflectance, words of the rule."""
OTHERS = {
    "cirrus_event_sns-sqs-single": "an event",
    "cirrus_event_sns-single": "an event",
    "earthsearch-v1_collection_sentinel-2-c1-l2a": "a Collection",
    "earthsearch-v1_landing": "a Catalog",
    "earthsearch-v1_search_page1": "Items without assets",
    "mlm_item_pytorch_geo_unet": "a model",
}


def scenes_of(folder: Path, name: str) -> list[Scene]:
    document: dict[str, Any] = json.loads((folder / "fixtures" / "stac" / f"{name}.json").read_text())
    return [read_scene(item) for item in document.get("features", [document])]


def dtype_of(scene: Scene, band: Band) -> str:
    return "uint8" if "naip" in str(scene.collection) else "uint16"


def choose(scene: Scene, wanted: tuple[str, ...]) -> tuple[Band, ...]:
    choice = choose_bands(scene, wanted, {})
    assert choice.notes == ()
    return choice.bands


def test_every_fixture_stands_here(shared: Path) -> None:
    """The table has every fixture, or says why not."""
    names = {path.stem for path in (shared / "fixtures" / "stac").glob("*.json")}
    assert names == ITEMS.keys() | OTHERS.keys()


@pytest.mark.parametrize("name", ITEMS)
def test_bands(shared: Path, name: str) -> None:
    """The four bands and, of Sentinel-2, the nine are the assets that hold them: COGs of the finest cell size."""
    four, nine, _, _ = ITEMS[name]
    for scene in scenes_of(shared, name):
        assert [band.asset for band in choose(scene, FOUR)] == four.split()
        if nine is None:
            with pytest.raises(ItemError, match="no band B02: it has"):
                choose(scene, NINE)
        else:
            assert [band.asset for band in choose(scene, NINE)] == nine.split()


@pytest.mark.parametrize("name", ITEMS)
def test_radiometry(shared: Path, name: str) -> None:
    """Scale and offset of every band are those of the rule that holds for the source, and the rule is named."""
    _, nine, expected, words = ITEMS[name]
    for scene in scenes_of(shared, name):
        for wanted in (FOUR,) if nine is None else (FOUR, NINE):
            bands = [(band, dtype_of(scene, band)) for band in choose(scene, wanted)]
            choice = choose_radiometry(scene, bands, Scaling(data_range=(0, 1)), None, None)
            assert words in choice.rule
            if expected is None:
                assert choice.radiometry.kind == "raw"
                assert choice.radiometry.source_range == (0, 255)
            else:
                assert choice.radiometry.kind == "reflectance"
                assert set(zip(choice.radiometry.scale, choice.radiometry.offset, strict=True)) == {expected}


@pytest.mark.parametrize("name", [name for name, (_, nine, *_) in ITEMS.items() if nine])
def test_harmonised(shared: Path, name: str) -> None:
    """Harmonised values lose the offset where the pixels hold it, and nothing where it is gone."""
    _, _, expected, _ = ITEMS[name]
    for scene in scenes_of(shared, name):
        bands = [(band, "uint16") for band in choose(scene, NINE)]
        radiometry = choose_radiometry(scene, bands, Scaling(), "dn_harmonised", None).radiometry
        is_held = expected == (S2, HELD)
        assert set(radiometry.offset) == {-1000.0 if is_held else 0.0}
        assert set(radiometry.floor) == ({1000.0} if is_held else set())


@pytest.mark.parametrize("name", [name for name, (_, nine, *_) in ITEMS.items() if nine is None])
def test_harmonised_elsewhere(shared: Path, name: str) -> None:
    """Nothing else than Sentinel-2 can be harmonised."""
    (scene,) = scenes_of(shared, name)
    bands = [(band, dtype_of(scene, band)) for band in choose(scene, FOUR)]
    with pytest.raises(ItemError, match="dn_harmonised is for Sentinel-2"):
        choose_radiometry(scene, bands, Scaling(), "dn_harmonised", None)


def test_naip_by_number(shared: Path) -> None:
    """NAIP's bands are those of the one image, by number as by name."""
    (scene,) = scenes_of(shared, "planetary-computer_naip")
    for wanted in ((0, 1, 2, 3), FOUR):
        assert [(band.asset, band.index) for band in choose_bands(scene, wanted, {}).bands] == [
            ("image", index) for index in range(4)
        ]


def test_planetary_computers_picture_is_no_answer_to_numbers(shared: Path) -> None:
    """Band 0 of Planetary Computer's Sentinel-2 is not that of `visual`, which has the role `data`."""
    (scene,) = scenes_of(shared, "planetary-computer_sentinel-2-l2a_S2B_T13TDE_20240825")
    with pytest.raises(ItemError, match="the model wants band 0 by number"):
        choose_bands(scene, (0,), {})


def test_twin_of_a_corrected_cog(shared: Path) -> None:
    """The JPEG 2000 twin of a COG whose offset is gone still holds it: the flag speaks of the COGs."""
    (scene,) = scenes_of(shared, "earthsearch-v1_sentinel-2-l2a_S2A_13TDE_20231008")
    bands = [(band, "uint16") for band in choose_bands(scene, ("red",), {"red": "red-jp2"}).bands]
    choice = choose_radiometry(scene, bands, Scaling(), "reflectance", None)
    assert choice.radiometry.offset == (-0.1,)
    assert "the flag speaks of the COGs alone" in choice.rule
