"""Which band of an Item a name means: sensors' spellings, twins, pictures, wavelengths."""

import pytest

from geodl_core.domain.scene.band_names import sentinel2_band, spellings, wavelength_of
from geodl_core.domain.scene.bands import BandChoice, choose_bands
from geodl_core.domain.scene.item import Scene, read_scene
from geodl_core.errors import ItemError

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def scene_of(platform: str | None = None, **assets: dict[str, object]) -> Scene:
    documents = {
        key: {"href": f"https://x.test/{key}.tif", "type": COG, "roles": ["data"], **asset}
        for key, asset in assets.items()
    }
    return read_scene({"type": "Feature", "id": "scene", "properties": {"platform": platform}, "assets": documents})


def choose(scene: Scene, *wanted: int | str, **mapping: str) -> BandChoice:
    return choose_bands(scene, wanted, mapping)


def assets_of(choice: BandChoice) -> list[str]:
    return [band.asset for band in choice.bands]


def eo(name: str, common: str | None = None, wavelength: float | None = None) -> dict[str, object]:
    return {"eo:bands": [{"name": name, "common_name": common, "center_wavelength": wavelength}]}


EARTH_SEARCH = {
    "red": eo("red", "red", 0.665),
    "rededge1": eo("rededge1", "rededge", 0.704),
    "nir08": eo("nir08", "nir08", 0.865),
}
PLANETARY = {"B04": eo("B04", "red", 0.665), "B05": eo("B05", "rededge", 0.704), "B8A": eo("B8A", "rededge", 0.865)}


@pytest.mark.parametrize("name", ["B04", "B4", "b4", "Band 4", "band_4", "Band-04", "Red", "red"])
@pytest.mark.parametrize(("assets", "asset"), [(EARTH_SEARCH, "red"), (PLANETARY, "B04")])
def test_spellings_of_sentinel_2(assets: dict[str, dict[str, object]], asset: str, name: str) -> None:
    """A band of Sentinel-2 is found by number and colour, whichever of the two the Item has."""
    choice = choose(scene_of("sentinel-2a", **assets), name)
    assert (assets_of(choice), choice.notes) == ([asset], ())


def test_red_edges_of_sentinel_2() -> None:
    """Earth Search's keys of the red edges and of B8A find Planetary Computer's bands, and the other way round."""
    names = ("rededge1", "nir08", "B05", "B8A")
    assert assets_of(choose(scene_of("Sentinel-2B", **PLANETARY), *names)) == ["B05", "B8A", "B05", "B8A"]
    assert assets_of(choose(scene_of("sentinel-2b", **EARTH_SEARCH), *names)) == ["rededge1", "nir08"] * 2
    with pytest.raises(ItemError, match=r"band RedEdge is ambiguous: B05 .*B8A"):
        choose(scene_of("Sentinel-2B", **PLANETARY), "RedEdge")


@pytest.mark.parametrize("name", ["B04", "Band 4", "B8"])
def test_numbers_mean_sentinel_2s_bands_alone(name: str) -> None:
    """Band 4 of a sensor that is not Sentinel-2 is another band, so a number finds nothing there."""
    with pytest.raises(ItemError, match=f"no band {name}: it has red"):
        choose(scene_of("landsat-8", red=eo("OLI_B4", "red", 0.65), pan=eo("OLI_B8", "pan", 0.59)), name)


def test_landsat() -> None:
    """Landsat's bands are found by USGS's file names, its near infrared as `nir`, thermal and quality by key."""
    assets = {
        "red": eo("OLI_B4", "red", 0.65),
        "nir08": eo("OLI_B5", "nir08", 0.87),
        "lwir11": eo("TIRS_B10", "lwir11", 10.9),
    }
    scene = scene_of("landsat-8", qa_pixel={"roles": ["cloud"]}, qa={}, **assets)
    choice = choose(scene, "SR_B4", "OLI_B4", "ST_B10", "Thermal", "qa_pixel", "NearInfrared")
    assert assets_of(choice) == ["red", "red", "lwir11", "lwir11", "qa_pixel", "nir08"]
    assert choice.notes == ()
    choice = choose(scene, "nir", "lwir")
    assert assets_of(choice) == ["nir08", "lwir11"]
    assert choice.notes[0] == "band nir is nir08 by its wavelength of 0.87 µm: the Item has none of that name"


@pytest.mark.parametrize(
    ("name", "asset"), [("Red", "w660"), ("nir", "w840"), ("705 nm", "w705"), ("RedEdge", "w705"), ("swir16", "w1610")]
)
def test_wavelengths(name: str, asset: str) -> None:
    """Where no name is known the band with the wavelength that is meant is taken, in micrometres or nanometres."""
    bands = {
        f"w{nm}": eo(f"w{nm}", None, nm / unit)
        for nm, unit in ((480, 1000), (660, 1), (705, 1000), (840, 1), (1610, 1000))
    }
    choice = choose(scene_of(**bands), name)
    assert assets_of(choice) == [asset]
    assert "by its wavelength" in choice.notes[0]


def test_wavelengths_that_do_not_tell() -> None:
    """A wavelength too far off is no band, two about equally near are ambiguous, a panchromatic band is none."""
    bands = {"a": eo("a", None, 0.655), "b": eo("b", None, 0.672), "pan": eo("pan", "pan", 0.605)}
    with pytest.raises(ItemError, match="band red is ambiguous: a, b"):
        choose(scene_of(**bands), "red")
    for name in ("swir16", "yellow", "B04", "Panchromatic_2"):
        with pytest.raises(ItemError, match="no band"):
            choose(scene_of(**bands), name)


def test_names_stand_above_wavelengths() -> None:
    """A band of the name is taken, however another's wavelength lies."""
    assert assets_of(choose(scene_of(a=eo("a", None, 0.665), red=eo("x", None, 0.7)), "red")) == ["red"]


RGB = {"eo:bands": [{"name": "B04", "common_name": "red"}, {"name": "B03", "common_name": "green"}]}


@pytest.mark.parametrize("picture", ["visual", "visual_20m", "TCI", "preview", "rendered_preview", "true-color"])
def test_pictures(picture: str) -> None:
    """A picture's red is never taken where the Item has measured bands, be its role `data`; by number neither."""
    scene = scene_of("sentinel-2b", **{picture: RGB}, B04=eo("B04", "red"), B08=eo("B08", "nir"))
    assert assets_of(choose(scene, "red")) == ["B04"]
    with pytest.raises(ItemError, match=f"no band green: it has {picture}"):
        choose(scene, "green")
    with pytest.raises(ItemError, match="2 raster assets: B04, B08"):
        choose(scene, 0)
    assert [(band.asset, band.index) for band in choose(scene, "green", green=f"{picture}:2").bands] == [(picture, 1)]


def test_twins_without_a_media_type() -> None:
    """Of two files of one band the JPEG 2000 is left, told by its name where it has no media type."""
    band = {**eo("B04", "red"), "type": None}
    assert assets_of(choose(scene_of(old={**band, "href": "a.jp2"}, new={**band, "href": "a.tif"}), "red")) == ["new"]


def test_alternates() -> None:
    """Alternate locations of an asset are no assets."""
    scene = scene_of(red={**eo("B04", "red"), "alternate": {"s3": {"href": "s3://bucket/red.tif"}}})
    assert choose(scene, "red").bands[0].href == "https://x.test/red.tif"


def test_what_names_mean() -> None:
    """Names are read in any case; wavelengths are those of common names, Esri's names and numbers of nanometres."""
    assert sentinel2_band("BAND 8A") == "b8a"
    assert sentinel2_band("B13") is None
    assert spellings("NearInfrared", is_sentinel2=True) == ("nearinfrared", "nir", "b08", "nir08", "b8a")
    assert spellings("B4", is_sentinel2=False) == ("b4",)
    assert wavelength_of("CoastalBlue") == (0.443, 0.02)
    assert wavelength_of("842nm") == (0.842, 0.01)
    assert wavelength_of("B08") is None
