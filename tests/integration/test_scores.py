"""Rasters of scores, test-time augmentation and the background left out, against looks at the whole image."""

import json

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from commands import geodl_here
from geodl_core.engine.load_model import load_model
from geodl_core.engine.open_worker import Means
from geodl_core.io.package.package import load_package
from items import write_item
from networks import (
    class_map_network,
    conv_network,
    mask_network,
    mean_network,
    scores_whole,
    softmax,
    stride_network,
    write_emd,
)
from runs import assert_classes, raster, run_item
from scenes import smooth, write_raster

SHAPE = (219, 331)
UNSORTED = [
    {"Value": 7, "Name": "Bright", "Color": [70, 80, 90]},
    {"Value": 0, "Name": "Background", "Color": [0, 0, 0]},
    {"Value": 2, "Name": "Middle", "Color": [40, 50, 60]},
]
"""In channel order: 7, 0, 2."""
MERGED_CLEAR = 0.5
"""Share of pixels at least where merged scores, of which many are 1 (max) or 0 (min), are no ties."""
BINARY = [{"Value": 0, "Name": "no"}, {"Value": 5, "Name": "yes"}]
STORED = {"uint8": (255, 1 / 254, 1.001 / 254), "float32": (np.nan, 1.0, 1e-4)}
"""Type → nodata, scale, and how far a score may be from the oracle's: half a step of rounding, and a tie of it."""


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A folder with a scene that has a corner of nodata, where commands run; its pixels and their validity."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    pixels = np.stack([smooth(SHAPE, 1), smooth(SHAPE, 2)])
    rows, cols = np.indices(SHAPE)
    pixels[:, rows + cols < 70] = 0
    write_item(tmp_path, {"image": {"href": write_raster(tmp_path / "scene.tif", pixels, nodata=0)}})
    return tmp_path, pixels, pixels.all(0)


def run(folder, **more):
    return run_item(folder, folder / "scene.json", **more)


def whole(folder, pixels, activate=softmax, step=1, name="net.onnx"):
    """Return scores of the whole image, mirrored at its lower and right border to full steps."""
    height, width = pixels.shape[1:]
    padded = np.pad(pixels, ((0, 0), (0, -height % step), (0, -width % step)), "reflect")
    return activate(scores_whole(folder / name, padded))[:, :height, :width]


def both(score):
    """Return scores of a mask's two classes."""
    return np.concatenate([1 - score, score])


def stored_scores(result, kind):
    """Return the raster of scores in [0, 1], NaN where it has none."""
    nodata, scale, _ = STORED[kind]
    values = raster(result, "probabilities.tif")
    return np.where(np.isnan(values) if kind == "float32" else values == nodata, np.nan, values * scale)


def assert_scores(result, kind, expected, valid):
    found = stored_scores(result, kind)
    assert np.isnan(found[:, ~valid]).all()
    assert np.abs(found - expected)[:, valid].max() <= STORED[kind][2] / (2 if kind == "uint8" else 1) + 1e-4


@pytest.mark.parametrize("tile", [None, 96])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_scores_of_classes(scene, kind, tile):
    """Each band holds the softmax of its class over the whole image, and the best band is the class map's class."""
    folder, pixels, valid = scene
    conv_network(folder / "net.onnx")
    write_emd(folder, Classes=UNSORTED)
    result = run(folder, probabilities=kind, tile_size_px=tile)
    model = load_model(load_package(str(folder / "net.emd")))
    names = [entry.name for entry in model.classes]
    channels = [[entry["Name"] for entry in UNSORTED].index(name) for name in names]
    scores = whole(folder, pixels)
    assert_scores(result, kind, scores[channels], valid)
    classes = raster(result)[0]
    assert_classes(classes, scores, [entry["Value"] for entry in UNSORTED], valid)
    found = np.nan_to_num(stored_scores(result, kind))
    best = np.sort(found, axis=0)
    is_clear = valid & (best[-1] - best[-2] > STORED[kind][1] * 0.1)
    ids = np.array([entry.value for entry in model.classes])
    assert np.array_equal(ids[found.argmax(0)][is_clear], classes[is_clear])
    with rasterio.open(result.folder / "probabilities.tif") as dataset:
        assert list(dataset.descriptions) == names


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_scores_as_a_file(tmp_path, kind):
    """The raster of scores is a strictly valid COG on the scene's grid, with nodata, overviews, names and scale."""
    pixels = np.stack([smooth((530, 700), 1), smooth((530, 700), 2)])
    pixels[:, :40, :40] = 0
    write_item(tmp_path, {"image": {"href": write_raster(tmp_path / "scene.tif", pixels, nodata=0)}})
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    result = run(tmp_path, probabilities=kind)
    path = result.folder / "probabilities.tif"
    is_valid, errors, warnings = cog_validate(path, strict=True, quiet=True)
    assert is_valid, (errors, warnings)
    nodata, scale, _ = STORED[kind]
    with rasterio.open(path) as dataset, rasterio.open(tmp_path / "scene.tif") as source:
        assert (dataset.crs, dataset.transform, dataset.shape) == (source.crs, source.transform, source.shape)
        assert dataset.dtypes == (kind,) * 3
        assert np.array_equal(dataset.nodatavals, (nodata,) * 3, equal_nan=True)
        assert dataset.descriptions == ("Dark", "Middle", "Bright")
        assert dataset.overviews(1) == [2]
        assert dataset.colorinterp[0] != rasterio.enums.ColorInterp.palette
    asset = result.item["assets"]["probabilities"]
    assert [band["name"] for band in asset["bands"]] == ["Dark", "Middle", "Bright"]
    for described in (asset, *asset["bands"]):
        assert described["data_type"] == kind
        assert described["nodata"] == ("nan" if kind == "float32" else 255)
        assert described.get("raster:scale", 1.0) == pytest.approx(scale)
        assert (kind == "float32") == ("raster:scale" not in described)
    assert asset["file:size"] == path.stat().st_size
    assert asset["roles"] == ["data", "probability"]
    json.dumps(result.item, allow_nan=False)


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("batch", [1, 4])
def test_scores_of_a_mask(scene, kind, batch):
    """A mask's scores have a band for each of its two classes, which add up to 1."""
    folder, pixels, valid = scene
    mask_network(folder / "net.onnx")
    write_emd(folder, Classes=BINARY)
    result = run(folder, probabilities=kind, tile_size_px=80, means=Means(batch_size=batch))
    score = whole(folder, pixels, activate=lambda found: found)
    assert_scores(result, kind, both(score), valid)
    assert_classes(raster(result)[0], both(score), (0, 5), valid)


def test_scores_of_a_mask_of_one_class(scene):
    """A mask whose definition names its class alone has one band more or less, but each is its class's score."""
    folder, pixels, valid = scene
    mask_network(folder / "net.onnx")
    write_emd(folder, Classes=[{"Value": 5, "Name": "yes"}])
    result = run(folder, probabilities="float32")
    score = whole(folder, pixels, activate=lambda found: found)[0]
    with rasterio.open(result.folder / "probabilities.tif") as dataset:
        band = 1 + [text.lower() for text in dataset.descriptions].index("yes")
        assert np.abs(dataset.read(band) - score)[valid].max() < 1e-4


def turned(folder, pixels, ways, policy, **more):
    """Return scores merged over looks at the whole image turned and mirrored, and turned back."""
    looks = []
    for quarters, is_mirrored in ways:
        image = np.rot90(pixels, quarters, axes=(1, 2))
        image = image[..., ::-1] if is_mirrored else image
        scores = whole(folder, np.ascontiguousarray(image), **more)
        scores = scores[..., ::-1] if is_mirrored else scores
        looks.append(np.rot90(scores, -quarters, axes=(1, 2)))
    return {"mean": np.mean, "max": np.max, "min": np.min}[policy](looks, axis=0)


ALL_EIGHT = [(quarters, is_mirrored) for quarters in range(4) for is_mirrored in (False, True)]
FLIPS_ONLY = [(0, False), (0, True), (2, False), (2, True)]


@pytest.mark.parametrize("policy", ["mean", "max", "min"])
@pytest.mark.parametrize("tile", [None, 80])
def test_augmentation_of_free_sizes(scene, policy, tile):
    """A network that takes any size looks in all eight ways, whatever tile its definition names."""
    folder, pixels, valid = scene
    pixels, valid = cut_to_steps(folder, pixels, valid)
    stride_network(folder / "net.onnx")
    write_emd(folder, Padding=None, ImageHeight=64, ImageWidth=96)
    arguments = {"test_time_augmentation": True, "merge_policy": policy, "probabilities": "float32"}
    result = run(folder, tile_size_px=tile, **arguments)
    expected = turned(folder, pixels, ALL_EIGHT, policy)
    assert_scores(result, "float32", expected, valid)
    assert_classes(raster(result)[0], expected, (1, 2, 7), valid, MERGED_CLEAR)
    plain = run(folder, out="plain", tile_size_px=tile)
    assert (raster(plain) != raster(result)).any()


def cut_to_steps(folder, pixels, valid):
    """Write the scene anew with sides that are multiples of 4."""
    height, width = (side // 4 * 4 for side in pixels.shape[1:])
    pixels = np.ascontiguousarray(pixels[:, :height, :width])
    write_raster(folder / "scene.tif", pixels, nodata=0)
    return pixels, valid[:height, :width]


@pytest.mark.parametrize("tile", [None, 80])
def test_augmentation_of_odd_scenes(scene, tile):
    """A scene of odd size is mirrored to the next full step first, and turned then."""
    folder, pixels, valid = scene
    stride_network(folder / "net.onnx")
    write_emd(folder, Padding=None)
    result = run(folder, tile_size_px=tile, test_time_augmentation=True, probabilities="float32")
    more = [-side % 4 for side in SHAPE]
    padded = np.pad(pixels, ((0, 0), (0, more[0]), (0, more[1])), "reflect")
    expected = turned(folder, padded, ALL_EIGHT, "mean")[:, : SHAPE[0], : SHAPE[1]]
    assert_scores(result, "float32", expected, valid)


@pytest.mark.parametrize("policy", ["mean", "max", "min"])
@pytest.mark.parametrize(("sizes", "ways"), [((64, 64), ALL_EIGHT), ((64, 80), FLIPS_ONLY)], ids=["square", "oblong"])
def test_augmentation_of_fixed_sizes(scene, policy, sizes, ways):
    """A square tile is looked at in all eight ways, one that is not square only mirrored and upside down."""
    folder, pixels, valid = scene
    conv_network(folder / "free.onnx")
    conv_network(folder / "net.onnx", sizes=(2, *sizes))
    write_emd(folder, ImageHeight=sizes[0], ImageWidth=sizes[1])
    arguments = {"test_time_augmentation": True, "merge_policy": policy, "probabilities": "float32"}
    result = run(folder, **arguments)
    padded = np.pad(pixels, ((0, 0), (8, 8), (8, 8)), "reflect")
    expected = turned(folder, padded, ways, policy, name="free.onnx")[:, 8:-8, 8:-8]
    assert_scores(result, "float32", expected, valid)
    assert_classes(raster(result)[0], expected, (1, 2, 7), valid, MERGED_CLEAR)


@pytest.mark.parametrize("policy", ["mean", "max", "min"])
def test_augmentation_of_a_mask(scene, policy):
    """A mask's threshold holds for the merged score."""
    folder, pixels, valid = scene
    mask_network(folder / "net.onnx")
    write_emd(folder, Classes=BINARY)
    result = run(folder, tile_size_px=80, test_time_augmentation=True, merge_policy=policy, threshold=0.6)
    score = turned(folder, pixels, ALL_EIGHT, policy, activate=lambda found: found)[0]
    is_clear = valid & (np.abs(score - 0.6) > 1e-4)
    assert np.array_equal(raster(result)[0][is_clear], np.where(score > 0.6, 5, 0)[is_clear])


def test_augmentation_of_blended_tiles(scene):
    """A network that sees its whole tile is blended and augmented at once: one that is symmetric stays what it is."""
    folder, _, _ = scene
    mean_network(folder / "net.onnx")
    write_emd(folder, Padding=None)
    plain = run(folder, probabilities="float32")
    turned_ = run(folder, out="turned", probabilities="float32", test_time_augmentation=True)
    first, second = stored_scores(plain, "float32"), stored_scores(turned_, "float32")
    assert np.nanmax(np.abs(first - second)) < 1e-4


@pytest.mark.parametrize("is_augmented", [False, True])
@pytest.mark.parametrize("probabilities", [None, "uint8"])
def test_background_left_out(scene, is_augmented, probabilities):
    """Without the background every valid pixel has the best of the other classes; the scores stay as they are."""
    folder, pixels, valid = scene
    conv_network(folder / "net.onnx")
    write_emd(folder, Classes=UNSORTED)
    arguments = {"predict_background": False, "probabilities": probabilities, "tile_size_px": 96}
    result = run(folder, test_time_augmentation=is_augmented, **arguments)
    found = raster(result)[0]
    scores = turned(folder, pixels, ALL_EIGHT, "mean") if is_augmented else whole(folder, pixels)
    assert (scores.argmax(0)[valid] == 1).mean() > 0.1
    assert not (found == 0).any()
    if is_augmented or probabilities:
        assert_classes(found, scores[[0, 2]], (7, 2), valid, MERGED_CLEAR)
    else:
        assert_classes(found, softmax(scores_whole(folder / "net.onnx", pixels)[[0, 2]]), (7, 2), valid)
    if probabilities:
        model = load_model(load_package(str(folder / "net.emd")))
        order = [[7, 0, 2].index(entry.value) for entry in model.classes]
        assert_scores(result, "uint8", scores[order], valid)


@pytest.mark.parametrize("predict_background", [True, False])
def test_classes_do_not_depend_on_scores(scene, predict_background):
    """The class map is the same, byte for byte, whether a raster of scores is asked for or not."""
    folder, _, _ = scene
    conv_network(folder / "net.onnx")
    write_emd(folder, Classes=UNSORTED)
    results = [
        run(folder, out=str(kind), probabilities=kind, predict_background=predict_background)
        for kind in (None, "uint8", "float32")
    ]
    plain, *others = ((result.folder / "classification.tif").read_bytes() for result in results)
    for other in others:
        assert other == plain


@pytest.mark.parametrize("shards", [2, 7])
def test_scores_whatever_the_shards(scene, shards):
    """Both rasters have the same bytes for any number of shards and threads, augmented too."""
    folder, _, _ = scene
    conv_network(folder / "net.onnx")
    write_emd(folder, Classes=UNSORTED)
    arguments = {"probabilities": "float32", "test_time_augmentation": True, "tile_size_px": 96}
    first = run(folder, shards=1, **arguments)
    other = run(folder, out="other", shards=shards, means=Means(threads=3), **arguments)
    for name in ("classification.tif", "probabilities.tif"):
        assert (first.folder / name).read_bytes() == (other.folder / name).read_bytes()


@pytest.mark.parametrize(
    "argument",
    [
        "test_time_augmentation=true",
        "merge_policy=max",
        "predict_background=false",
        "return_probability_raster=uint8",
        "return_probability_raster=float32",
    ],
)
def test_class_maps_give_no_scores(scene, argument):
    """A network that writes classes itself is refused what needs scores, in a line that names it."""
    folder, _, _ = scene
    class_map_network(folder / "net.onnx")
    write_emd(folder, Classes=[{"Value": 2, "Name": "low"}, {"Value": 7, "Name": "high"}])
    result = geodl_here("run", "scene.json", "-m", "net.emd", "--arg", argument)
    assert result.returncode == 2
    assert argument.partition("=")[0] in result.stderr
    assert not list(folder.rglob("*.part"))


@pytest.mark.parametrize(
    "argument",
    [
        "test_time_augmentation=perhaps",
        "merge_policy=median",
        "return_probability_raster=uint16",
        "predict_background=false",
        "padding=-1",
    ],
)
def test_values_that_do_not_serve(scene, argument):
    """Other values, and a background that the model lacks, are refused with the name of the argument."""
    folder, _, _ = scene
    conv_network(folder / "net.onnx")
    write_emd(folder)
    result = geodl_here("run", "scene.json", "-m", "net.emd", "--arg", argument)
    assert result.returncode == 2
    assert argument.partition("=")[0] in result.stderr


def test_definition_asks_for_augmentation(scene):
    """The definition's test_time_augmentation is the default, which an argument overrules."""
    folder, _, _ = scene
    conv_network(folder / "net.onnx")
    write_emd(folder)
    write_emd(folder, name="turned.emd", test_time_augmentation=True)

    def classes(emd, *arguments):
        result = geodl_here("run", "scene.json", "-m", emd, "--json", *arguments)
        assert result.returncode == 0, result.stderr
        with rasterio.open(json.loads(result.stdout)["assets"]["classification"]) as dataset:
            return dataset.read(1)

    augmented, plain = ("--arg", "test_time_augmentation=True"), ("--arg", "test_time_augmentation False")
    assert np.array_equal(classes("turned.emd"), classes("net.emd", *augmented))
    assert np.array_equal(classes("turned.emd", *plain), classes("net.emd"))
    assert (classes("net.emd") != classes("turned.emd")).any()
    assert "default true" in geodl_here("run", "--help-model", "turned.emd").stdout


def test_each_choice_is_another_job(scene):
    """What changes the bytes changes the job; a policy without augmentation changes nothing."""
    folder, _, _ = scene
    conv_network(folder / "net.onnx")
    write_emd(folder, Classes=UNSORTED)

    def job(*arguments):
        words = [word for argument in arguments for word in ("--arg", argument)]
        result = geodl_here("plan", "scene.json", "-m", "net.emd", "--dry-run", "--json", *words)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)["job_id"]

    augmented = "test_time_augmentation=true"
    jobs = [
        job(),
        job(augmented),
        job(augmented, "merge_policy=max"),
        job("predict_background=false"),
        job("return_probability_raster=uint8"),
        job("return_probability_raster=float32"),
    ]
    assert len(set(jobs)) == len(jobs)
    assert job("merge_policy=max") == jobs[0]
    assert job("return_probability_raster=true") == jobs[4]
    assert job("return_probability_raster=false", "predict_background=1") == jobs[0]
