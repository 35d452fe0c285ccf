"""Items: which asset holds which band, and what its metadata says of the values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.scene.bands import choose_bands
from geodl_core.domain.scene.item import Band, Scene, read_scene
from geodl_core.errors import ItemError

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def item_of(**assets: dict[str, object]) -> dict[str, object]:
    documents = {
        key: {"href": f"https://x.test/{key}.tif", "type": COG, "roles": ["data"], **asset}
        for key, asset in assets.items()
    }
    return {"type": "Feature", "id": "scene", "collection": "c", "properties": {"gsd": 10}, "assets": documents}


def scene_of(**assets: dict[str, object]) -> Scene:
    return read_scene(item_of(**assets))


def choose(scene: Scene, *wanted: int | str, **mapping: str) -> list[tuple[str, int]]:
    return [(band.asset, band.index) for band in choose_bands(scene, wanted, mapping).bands]


SENTINEL = {
    "blue": {"eo:bands": [{"name": "B02", "common_name": "blue"}], "raster:bands": [{"scale": 1e-4, "nodata": 0}]},
    "red": {"eo:bands": [{"name": "B04", "common_name": "red"}], "raster:bands": [{"scale": 1e-4, "offset": -0.1}]},
    "nir": {"eo:bands": [{"name": "B08", "common_name": "nir"}]},
    "visual": {
        "eo:bands": [{"common_name": "red"}, {"common_name": "green"}, {"common_name": "blue"}],
        "roles": ["visual"],
    },
    "thumbnail": {"type": "image/jpeg", "roles": ["thumbnail"]},
    "granule_metadata": {"type": "application/xml", "roles": ["metadata"]},
}


def test_stac_1_0() -> None:
    """`eo:bands` and `raster:bands` are read together."""
    scene = scene_of(**SENTINEL)
    blue, red = choose_bands(scene, ["blue", "B04"], {}).bands
    assert (blue.scale, blue.offset, blue.nodata, blue.cell_size) == (1e-4, None, 0, 10)
    assert (red.asset, red.scale, red.offset) == ("red", 1e-4, -0.1)
    assert set(red.names) == {"b04", "red"}
    assert (scene.id, scene.collection) == ("scene", "c")


def test_stac_1_1() -> None:
    """`bands` are read with the asset's own fields beneath the band's."""
    asset = {
        "bands": [
            {"name": "B1", "eo:common_name": "red", "raster:scale": 2, "statistics": {"minimum": 1, "maximum": 9}},
            {"name": "B2", "eo:common_name": "nir", "nodata": "nan", "raster:spatial_resolution": 20},
        ],
        "raster:scale": 3,
        "raster:offset": 4,
        "nodata": -9999,
        "name": "not a band's name",
        "file:checksum": "1220ab",
        "file:size": 5,
    }
    red, nir = choose_bands(scene_of(data=asset), ["red", "B2"], {}).bands
    assert (red.index, red.scale, red.offset, red.nodata, red.value_range) == (0, 2, 4, -9999, (1, 9))
    assert (nir.index, nir.scale, nir.cell_size) == (1, 3, 20)
    assert nir.nodata is not None
    assert math.isnan(nir.nodata)
    assert set(red.names) == {"b1", "red"}
    assert red.checksum == "1220ab"


@pytest.mark.parametrize(("said", "read"), [("inf", math.inf), ("-inf", -math.inf), (0, 0), (255, 255), (None, None)])
def test_nodata_as_stac_writes_it(said: object, read: float | None) -> None:
    """Infinities are written as text; nothing said is no nodata."""
    assert scene_of(a={"bands": [{"nodata": said}]}).bands[0].nodata == read


def test_index_into_a_multi_band_asset() -> None:
    """A number is the band of the one asset with several bands, whatever else there is."""
    scene = scene_of(data={"bands": [{"name": "r"}, {"name": "g"}, {"name": "b"}]}, mask={}, visual=SENTINEL["visual"])
    assert choose(scene, 2, 0, "1") == [("data", 2), ("data", 0), ("data", 1)]
    with pytest.raises(ItemError, match=r"band 3 \(0-based\), but asset data has 3 bands"):
        choose(scene, 3)


def test_index_into_an_asset_that_tells_nothing_of_its_bands() -> None:
    """Of the only raster asset any band may be asked; opening the file will tell."""
    assert choose(scene_of(data={}), 0, 3) == [("data", 0), ("data", 3)]


def test_index_where_it_is_not_clear_into_what() -> None:
    """A number among several assets is an ItemError that lists them and says what to do."""
    with pytest.raises(ItemError, match="blue, red, nir") as caught:
        choose(scene_of(**SENTINEL), 0)
    assert caught.value.hint is not None
    assert "--band 0=blue" in caught.value.hint
    with pytest.raises(ItemError, match="0 raster assets: none"):
        choose(scene_of(thumbnail=SENTINEL["thumbnail"]), 0)


@pytest.mark.parametrize(
    ("known", "common"),
    [
        ("NearInfrared", "nir"),
        ("Red", "red"),
        ("CoastalBlue", "coastal"),
        ("Panchromatic", "pan"),
        ("NearInfrared_1", "nir"),
        ("ShortWaveInfrared", "swir16"),
        ("Near Infrared", "nir"),
        ("Thermal", "lwir"),
    ],
)
def test_well_known_band_names(known: str, common: str) -> None:
    """Esri's WellKnownBandNames find STAC's common names."""
    scene = scene_of(a={"bands": [{"name": "B1", "eo:common_name": common}]}, b={"bands": [{"name": "other"}]})
    assert choose(scene, known) == [("a", 0)]


@pytest.mark.parametrize("name", ["B04", "b04", "RED", "red"])
def test_names_in_any_case(name: str) -> None:
    """Band names, common names and asset keys are found in any case, the visual asset left aside."""
    assert choose(scene_of(**SENTINEL), name) == [("red", 0)]


def test_jpeg_2000_twins() -> None:
    """Of a band as COG and as JPEG 2000 the COG is taken; alone the JPEG 2000 is."""
    twin = {"eo:bands": [{"name": "B02", "common_name": "blue"}], "type": "image/jp2", "href": "s3://b/B02.jp2"}
    assert choose(scene_of(**{"blue-jp2": twin, "blue": SENTINEL["blue"]}), "blue", "B02") == [("blue", 0)] * 2
    assert choose(scene_of(**{"blue-jp2": twin}), "B02") == [("blue-jp2", 0)]


@pytest.mark.parametrize("field", ["gsd", "raster:spatial_resolution", "spatial_resolution"])
def test_coarser_duplicates(field: str) -> None:
    """Of the same band at several cell sizes the finest is taken."""
    assets = {
        f"blue_{size}m": {"bands": [{"name": "B02", "eo:common_name": "blue", field: size}]} for size in (20, 10, 60)
    }
    assert choose(scene_of(**assets), "blue") == [("blue_10m", 0)]
    assert choose(scene_of(**assets), "blue_20m") == [("blue_20m", 0)]


def test_visual_alone_serves() -> None:
    """A band that only a visual asset has is taken from there."""
    assert choose(scene_of(visual=SENTINEL["visual"]), "green") == [("visual", 1)]


def test_missing_band_lists_what_is_there() -> None:
    """A band that is missing is an ItemError that lists the bands that there are, by asset and name."""
    with pytest.raises(ItemError, match=r"no band swir16: it has blue \(b02\), red \(b04\), nir \(b08\)") as caught:
        choose(scene_of(**SENTINEL), "swir16")
    assert caught.value.hint is not None
    assert "--band swir16=ASSET" in caught.value.hint
    assert "thumbnail" not in caught.value.message


def test_ambiguous_band_lists_what_is_there() -> None:
    """A band of several assets is an ItemError that lists them."""
    twins = {key: {"bands": [{"name": "B02", "eo:common_name": "blue"}]} for key in ("first", "second")}
    with pytest.raises(ItemError, match=r"band blue is ambiguous: first .*second"):
        choose(scene_of(**twins), "blue")
    assert choose(scene_of(**twins), "blue", blue="second") == [("second", 0)]


def test_mapping() -> None:
    """The user's mapping names an asset, a band, or a band of an asset counted from 1."""
    scene = scene_of(**SENTINEL)
    assert choose(scene, "swir16", swir16="nir") == [("nir", 0)]
    assert choose(scene, "swir16", swir16="B08") == [("nir", 0)]
    assert choose(scene, "red", red="visual:2") == [("visual", 1)]
    assert choose(scene, 0, **{"0": "red"}) == [("red", 0)]
    with pytest.raises(ItemError, match=r"--band red=nothing: .*no band nothing"):
        choose(scene, "red", red="nothing")
    with pytest.raises(ItemError, match="--band names green, but the model wants red"):
        choose(scene, "red", green="nir")


@pytest.mark.parametrize(
    "mapped",
    [
        "visual:0",
        "nowhere:2",
        pytest.param("visual:²"),
    ],
)
def test_mapping_to_no_band(mapped: str) -> None:
    """A mapping that names no band is an ItemError."""
    with pytest.raises(ItemError):
        choose(scene_of(**SENTINEL), "red", red=mapped)


def test_a_number_that_is_none() -> None:
    """A superscript digit is a name, not a number."""
    with pytest.raises(ItemError):
        choose(scene_of(**SENTINEL), "²")


def test_mapping_keeps_the_metadata_of_the_band_named() -> None:
    """A band named as `asset:index` has its own scale, offset and nodata, not the first band's."""
    asset = {"bands": [{"name": "a", "raster:scale": 1, "nodata": 0}, {"name": "b", "raster:scale": 0.5, "nodata": 9}]}
    (band,) = choose_bands(scene_of(data=asset), ["x"], {"x": "data:2"}).bands
    assert (band.index, band.scale, band.nodata) == (1, 0.5, 9)


@pytest.mark.parametrize(
    ("asset", "count"),
    [
        ({"type": None, "href": "a.tif"}, 1),
        ({"type": None, "href": "a.TIF?sig=1"}, 1),
        ({"type": None, "href": "a.xml"}, 0),
        ({"type": "application/json"}, 0),
        ({"type": "image/png", "roles": ["overview"]}, 0),
        ({"type": "IMAGE/TIFF"}, 1),
        ({"bands": []}, 1),
        ({"bands": None, "eo:bands": None}, 1),
    ],
)
def test_which_assets_are_rasters(asset: dict[str, object], count: int) -> None:
    """Assets are rasters by media type, without one by suffix."""
    assert len(scene_of(a=asset).bands) == count


@pytest.mark.parametrize(
    "document", [{}, {"type": "Collection"}, {"type": "Feature", "id": "x"}, {"type": "Feature", "assets": {}}]
)
def test_documents_that_are_no_items(document: dict[str, object]) -> None:
    """A document without id or assets is an ItemError."""
    with pytest.raises(ItemError, match="expected a STAC Item"):
        read_scene(document)


@given(st.lists(st.sampled_from(["r", "g", "b", "n"]), min_size=1, max_size=4, unique=True), st.data())
def test_bands_come_in_the_models_order(names: list[str], data: st.DataObject) -> None:
    """Bands come in the order in which the model wants them, whatever that of the Item."""
    scene = scene_of(data={"bands": [{"name": name} for name in names]})
    wanted = data.draw(st.permutations(names))
    found: tuple[Band, ...] = choose_bands(scene, wanted, {}).bands
    assert [band.index for band in found] == [names.index(name) for name in wanted]
