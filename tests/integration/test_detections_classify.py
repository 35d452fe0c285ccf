"""`geodl detections classify`: against chips cut by hand and the network as it is."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import onnxruntime
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from onnx import TensorProto, helper, numpy_helper
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.windows import Window as Pixels

from commands import geodl_here
from geodl_core.domain.plan.job import Arguments
from geodl_core.engine.load_object_classifier import load_object_classifier
from geodl_core.engine.plan_objects import plan_objects
from geodl_core.io.package.package import load_package
from geodl_core.io.scene.scene_reader import SceneReader
from geodl_core.io.scene.source import read_source
from items import write_item
from networks import save, softmax, write_emd
from scenes import write_raster

COLOURS = [{"Value": value, "Name": name} for value, name in ((4, "red"), (2, "green"), (9, "blue"))]
SHARES = [{"Value": 0, "Name": "bare"}, {"Value": 1, "Name": "full"}]
TRANSFORM = Affine(1, 0, 300000, 0, -1, 5300040)
PLACES = ((20, 30, 24, 40), (100, 200, 140, 210), (250, 10, 262, 22), (60, 120, 90, 150), (180, 128, 200, 180))
"""Top, left, bottom, right of what is drawn, in pixels."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the scene `scene.tif`, in which it works."""
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_raster(tmp_path / "scene.tif", scene_pixels(), cell=1.0)
    return tmp_path


def scene_pixels(dtype: str = "uint8") -> np.ndarray:
    """Noise, and rectangles of one colour each."""
    pixels = np.random.default_rng(3).integers(1, 60, (3, 300, 260)).astype(dtype)
    for number, (top, left, bottom, right) in enumerate(PLACES):
        pixels[number % 3, top:bottom, left:right] = 200 + number
    return pixels


def outline(place: tuple[float, float, float, float], transform: Affine = TRANSFORM) -> shapely.Polygon:
    """Return the polygon of a place in pixels."""
    top, left, bottom, right = place
    return shapely.Polygon(
        [transform @ corner for corner in ((left, top), (right, top), (right, bottom), (left, bottom))]
    )


def write_features(path: Path, shapes: Any, crs: str = "EPSG:32633", **columns: Any) -> gpd.GeoDataFrame:
    """Write features in a CRS other than that of their shapes, with a column `name`."""
    names = {"name": [f"no {index}" for index in range(len(shapes))]}
    frame = gpd.GeoDataFrame({**names, **columns}, geometry=list(shapes), crs="EPSG:32633").to_crs(crs)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return frame


def mean_network(
    path: Path, weights: Any, sizes: tuple[Any, ...] = ("n", 3, "h", "w"), layout: str = "NCHW", **more: Any
) -> Path:
    """The mean of each channel, times (C, K) weights; `end` names an activation, `before` an operator on the pixels."""
    weights = np.asarray(weights, "float32")
    source, nodes = "x", []
    if more.get("before"):
        nodes.append(helper.make_node(more["before"], ["x"], ["signs"]))
        source = "signs"
    axes = [layout.index("H"), layout.index("W")]
    end = more.get("end")
    nodes += [
        helper.make_node("ReduceMean", [source], ["means"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits" if end else "y"]),
        *([helper.make_node(end, ["logits"], ["y"])] if end else []),
    ]
    shape = dict(zip("NCHW", sizes, strict=True))
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [shape[axis] for axis in layout])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [sizes[0], weights.shape[1]])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return save(graph, path)


def colour_model(folder: Path, size: int = 32, **keys: Any) -> Path:
    """A model that tells which colour a chip has most of."""
    mean_network(folder / "net.onnx", np.eye(3) / 20)
    return classifier(folder, **{"Classes": COLOURS, "ImageHeight": size, "ImageWidth": size, **keys})


def share_model(folder: Path, **keys: Any) -> Path:
    """A model that tells how much of a chip is not 0: class 1 from an eighth on."""
    mean_network(folder / "net.onnx", np.outer(np.ones(3), (-2.0, 2.0)), before="Sign", end="Softmax")
    return classifier(folder, **{"Classes": SHARES, "ImageHeight": 32, "ImageWidth": 32, **keys})


def classifier(folder: Path, **keys: Any) -> Path:
    fields = {"ModelType": "ObjectClassification", "Padding": None, "ExtractBands": [0, 1, 2], **keys}
    return write_emd(folder, **fields)


def classify(*words: Any, out: str = "out.parquet") -> tuple[gpd.GeoDataFrame, dict[str, Any]]:
    """Run the command into a file; return its table and what it printed."""
    done = geodl_here("detections", "classify", *words, "-o", out, "--force", "--json")
    assert done.returncode == 0, done.stderr
    return gpd.read_parquet(out) if out.endswith(".parquet") else gpd.read_file(out), json.loads(done.stdout)


def by_hand(net: Path, chip: np.ndarray, layout: str = "NCHW") -> np.ndarray:
    """Return the (K,) scores that a network as it is gives of (C, H, W) values, after a softmax where it has none."""
    session = onnxruntime.InferenceSession(net.read_bytes(), providers=["CPUExecutionProvider"])
    values = chip[None].astype("float32")
    given = values if layout == "NCHW" else values.transpose(0, 2, 3, 1)
    (answer,) = session.run(None, {session.get_inputs()[0].name: given})
    is_done = any(node in net.read_bytes() for node in (b"Softmax", b"Sigmoid"))
    return answer[0] if is_done else softmax(answer[0])


def cut(raster: str, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Return (C, h, w) stored values, 0 outside of the raster."""
    with rasterio.open(raster) as dataset:
        return dataset.read(window=Pixels(left, top, width, height), boundless=True, fill_value=0)


def centred(place: tuple[int, int, int, int], size: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a chip round a place of even sides."""
    top, left, bottom, right = place
    return (top + bottom - size) // 2, (left + right - size) // 2, size, size


def resized(chip: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a chip at another size, as GDAL does it, on float32."""
    values = chip.astype("float32")
    profile = {"driver": "GTiff", "count": len(values), "dtype": "float32"}
    with MemoryFile() as file:
        with file.open(height=values.shape[1], width=values.shape[2], **profile) as dataset:
            dataset.write(values)
        with file.open() as dataset:
            return dataset.read(out_shape=(len(values), *shape), resampling=Resampling.bilinear)


def assert_scores(table: gpd.GeoDataFrame, scores: Any, classes: list[dict[str, Any]]) -> None:
    """Check class and score of each row against (N, K) scores."""
    best = np.asarray(scores).argmax(1)
    assert table["class_name"].tolist() == [classes[index]["Name"] for index in best]
    assert table["class_id"].tolist() == [classes[index]["Value"] for index in best]
    assert np.abs(table["score"].to_numpy() - np.max(scores, axis=1)).max() < 1e-5


@pytest.mark.parametrize("suffix", ["parquet", "gpkg", "geojson", "fgb"])
def test_fixed_chips(folder, suffix):
    """Polygons of another CRS get the class and score of chips cut by hand; columns, CRS and order stay."""
    model = colour_model(folder)
    features = write_features(folder / f"in.{suffix}", [outline(place) for place in PLACES], "EPSG:4326", kind=range(5))
    table, printed = classify("scene.tif", f"in.{suffix}", "-m", model, out=f"out.{suffix}")
    scores = [by_hand(folder / "net.onnx", cut("scene.tif", *centred(place, 32))) for place in PLACES]
    table = table.sort_values("kind")  # some formats keep features in an order of their own
    assert_scores(table, scores, COLOURS)
    assert table["name"].tolist() == features["name"].tolist()
    assert table.crs == features.crs
    assert shapely.equals_exact(table.geometry.array, features.geometry.array, 1e-7, normalize=True).all()
    assert (printed["features"], printed["classified"], printed["warnings"]) == (5, 5, [])
    assert [entry["count"] for entry in printed["classes"]] == [2, 2, 1]


def test_points(folder):
    """A point's chip has it in its middle."""
    places = [(16, 16, 16, 16), (120, 205, 120, 205), (299, 259, 299, 259)]
    model = colour_model(folder)
    points = [shapely.Point(TRANSFORM @ (left, top)) for top, left, _, _ in places]
    write_features(folder / "in.gpkg", points)
    table, _ = classify("scene.tif", "in.gpkg", "-m", model)
    chips = [cut("scene.tif", top - 16, left - 16, 32, 32) for top, left, _, _ in places]
    assert_scores(table, [by_hand(folder / "net.onnx", chip) for chip in chips], COLOURS)
    colour_model(folder, CropSizeFixed=0)
    done = geodl_here("detections", "classify", "scene.tif", "in.gpkg", "-m", model)
    assert done.returncode == 2
    assert "CropSizeFixed is 0" in done.stderr


def test_blackened_surroundings(folder):
    """With `BlackenAroundFeature` a network that looks beyond the object sees what a mask by hand leaves of it."""
    shapes = [shapely.Point(TRANSFORM @ (col, row)).buffer(radius) for row, col, radius in ((50, 60, 9), (150, 70, 5))]
    write_features(folder / "in.parquet", shapes)
    model = share_model(folder)
    plain, _ = classify("scene.tif", "in.parquet", "-m", model)
    share_model(folder, BlackenAroundFeature=1)
    black, _ = classify("scene.tif", "in.parquet", "-m", model)
    scores = []
    for shape, (row, col) in zip(shapes, ((50, 60), (150, 70)), strict=True):
        place = Affine.translation(col - 16, row - 16)
        mask = rasterio.features.geometry_mask([shape], (32, 32), TRANSFORM @ place, invert=True)
        scores.append(by_hand(folder / "net.onnx", cut("scene.tif", row - 16, col - 16, 32, 32) * mask))
    assert_scores(black, scores, SHARES)
    assert plain["score"].min() > 0.99
    assert (black["score"] < plain["score"] - 1e-3).all()


def test_chips_as_large_as_objects(folder):
    """With `CropSizeFixed` 0 the smallest box is enlarged or made smaller to the network's size, proportions kept."""
    model = colour_model(folder, CropSizeFixed=0, ImageHeight=64, ImageWidth=64, resize_to=24)
    write_features(folder / "in.parquet", [outline(place) for place in PLACES])
    table, _ = classify("scene.tif", "in.parquet", "-m", model)
    scores = []
    for top, left, bottom, right in PLACES:
        height, width = bottom - top, right - left
        scale = 24 / max(height, width)
        there = round(height * scale), round(width * scale)
        chip = np.zeros((3, 24, 24), "float32")
        first = (24 - there[0]) // 2, (24 - there[1]) // 2
        inner = resized(cut("scene.tif", top, left, height, width), there)
        chip[:, first[0] : first[0] + there[0], first[1] : first[1] + there[1]] = inner
        scores.append(by_hand(folder / "net.onnx", chip))
    assert_scores(table, scores, COLOURS)
    fixed, _ = classify("scene.tif", "in.parquet", "-m", colour_model(folder, size=64, resize_to=24))
    assert (np.abs(fixed["score"] - table["score"]) > 0.01).all()


def test_objects_larger_than_a_chip_are_cropped(folder):
    """An object larger than `ImageWidth` is seen by a chip of the usual size at its middle."""
    place = (40, 20, 240, 80)
    write_features(folder / "in.parquet", [outline(place)])
    table, _ = classify("scene.tif", "in.parquet", "-m", colour_model(folder, size=64, CropSizeFixed=0))
    assert_scores(table, [by_hand(folder / "net.onnx", cut("scene.tif", *centred(place, 64)))], COLOURS)


@pytest.mark.parametrize(
    "keys",
    [
        {"Framework": "arcgis.learn.models._inferencing"},
        {"DataRange": [-1, 1]},
        {
            "NormalizationStats": {
                "band_min_values": [0, 10, 20],
                "band_max_values": [255, 200, 220],
                "scaled_mean_values": [0.4, 0.5, 0.6],
                "scaled_std_values": [0.2, 0.3, 0.4],
            }
        },
    ],
    ids=["ImageNet", "DataRange", "NormalizationStats"],
)
def test_values_are_scaled_as_for_pixels(folder, keys):
    """The network gets what the definition asks for."""
    model = colour_model(folder, **keys)
    write_features(folder / "in.parquet", [outline(place) for place in PLACES])
    table, _ = classify("scene.tif", "in.parquet", "-m", model)

    def scaled(chip: np.ndarray) -> np.ndarray:
        def three(numbers: Any) -> np.ndarray:
            return np.asarray(numbers, "float64").reshape(3, 1, 1)

        if "DataRange" in keys:
            return chip / 255 * 2 - 1
        if "Framework" in keys:
            return (chip / 255 - three([0.485, 0.456, 0.406])) / three([0.229, 0.224, 0.225])
        low, high, mean, std = map(three, keys["NormalizationStats"].values())
        return ((chip - low) / (high - low) - mean) / std

    chips = [scaled(cut("scene.tif", *centred(place, 32))) for place in PLACES]
    assert_scores(table, [by_hand(folder / "net.onnx", chip) for chip in chips], COLOURS)


@pytest.mark.parametrize("sizes", [("n", 3, "h", "w"), (4, 3, 32, 32)], ids=["any batch", "batches of 4"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_layouts_and_batches(folder, layout, sizes):
    """Networks of either layout, of one batch or any, agree with themselves whatever the batch and the threads."""
    mean_network(folder / "net.onnx", np.eye(3) / 20, sizes, layout)
    if sizes[0] == 4:
        (folder / "one").mkdir()
        net = mean_network(folder / "one" / "net.onnx", np.eye(3) / 20, (1, *sizes[1:]), layout)
    else:
        net = folder / "net.onnx"
    model = classifier(folder, Classes=COLOURS, ImageHeight=32, ImageWidth=32, ModelFormat=layout)
    write_features(folder / "in.parquet", [outline(place) for place in PLACES])
    scores = [by_hand(net, cut("scene.tif", *centred(place, 32)), layout) for place in PLACES]
    for words in ((), ("--threads", 1, "--arg", "batch_size 2"), ("--threads", 3, "--arg", "batch_size=5")):
        table, _ = classify("scene.tif", "in.parquet", "-m", model, *words)
        assert_scores(table, scores, COLOURS)


def test_one_score(folder):
    """A network of one sigmoid score tells two classes apart."""
    mean_network(folder / "net.onnx", [[0.05], [-0.05], [0]], end="Sigmoid")
    model = classifier(folder, Classes=SHARES, ImageHeight=32, ImageWidth=32)
    write_features(folder / "in.parquet", [outline(place) for place in PLACES])
    table, _ = classify("scene.tif", "in.parquet", "-m", model, "--all-scores")
    second = np.array([by_hand(folder / "net.onnx", cut("scene.tif", *centred(place, 32)))[0] for place in PLACES])
    assert_scores(table, np.column_stack([1 - second, second]), SHARES)
    assert set(table["class_id"]) == {0, 1}
    assert np.abs(table["score_full"] - second).max() < 1e-5


def test_features_that_are_not_seen(folder):
    """Features outside the scene, without a valid pixel or without a shape get no class, and are named; no error."""
    pixels = scene_pixels()
    pixels[:, 200:] = 0
    write_raster(folder / "scene.tif", pixels, cell=1.0, nodata=0)
    places = (PLACES[0], (-90, -80, -60, -50), PLACES[2], (290, 250, 310, 270), (-10, -10, 10, 10), (190, 9, 210, 29))
    write_features(folder / "in.parquet", [*map(outline, places), None])
    table, printed = classify("scene.tif", "in.parquet", "-m", colour_model(folder))
    assert table["class_id"].isna().tolist() == [False, True, True, True, False, False, True]
    assert table["class_name"].isna().tolist() == table["score"].isna().tolist() == table["class_id"].isna().tolist()
    assert [(printed["features"], printed["classified"])] == [(7, 3)]
    assert any("1, 6 lie outside" in warning for warning in printed["warnings"])
    assert any("2, 3 have no valid pixel" in warning for warning in printed["warnings"])
    done = geodl_here("detections", "classify", "scene.tif", "in.parquet", "-m", "net.emd")
    assert done.returncode == 0
    assert "2, 3 have no valid pixel" in done.stderr
    seen = [places[index] for index in (0, 4, 5)]
    scores = [by_hand(folder / "net.onnx", cut("scene.tif", *centred(place, 32))) for place in seen]
    assert_scores(table[~table["class_id"].isna()], scores, COLOURS)


def test_columns_of_the_command_line(folder):
    """ArcGIS's columns, all scores, a prefix and a threshold; columns that are there are never overwritten."""
    model = colour_model(folder)
    write_features(folder / "in.parquet", [outline(place) for place in PLACES], class_id=[7] * 5)
    scores = np.array([by_hand(folder / "net.onnx", cut("scene.tif", *centred(place, 32))) for place in PLACES])
    table, _ = classify("scene.tif", "in.parquet", "-m", model, "--arcgis-fields", "--all-scores")
    assert table["class_id"].tolist() == [7] * 5
    assert table["ClassLabel"].tolist() == [COLOURS[index]["Name"] for index in scores.argmax(1)]
    assert np.abs(table["Confidence"] - 100 * scores.max(1)).max() < 1e-3
    each = table[[f"Confidence_{entry['Name']}" for entry in COLOURS]].to_numpy()
    assert np.abs(each - 100 * scores).max() < 1e-3
    refused = geodl_here("detections", "classify", "scene.tif", "in.parquet", "-m", model)
    assert refused.returncode == 2
    assert "class_id already" in refused.stderr
    middle = float(np.median(scores.max(1)))
    kept, _ = classify("scene.tif", "in.parquet", "-m", model, "--prefix", "c_", "--threshold", f"{middle:.4f}")
    assert 0 < kept["c_class_name"].isna().sum() < 5
    assert (kept["c_class_name"].isna() == (scores.max(1) < round(middle, 4))).all()
    assert not kept["c_score"].isna().any()
    said, _ = classify(
        "scene.tif", "in.parquet", "-m", model, "--prefix", "c_", "--arg", f"score_threshold {middle:.4f}"
    )
    assert said.equals(kept)


def test_a_file_that_exists_is_kept(folder):
    """The result lies beside the features by default; a file that exists is replaced only when asked for."""
    model = colour_model(folder)
    write_features(folder / "in.gpkg", [outline(place) for place in PLACES])
    first = geodl_here("detections", "classify", "scene.tif", "in.gpkg", "-m", model)
    assert (first.returncode, (folder / "in_classified.gpkg").exists()) == (0, True)
    assert "features 5 of 5 have a class" in first.stdout
    assert geodl_here("detections", "classify", "scene.tif", "in.gpkg", "-m", model).returncode == 2
    assert geodl_here("detections", "classify", "scene.tif", "in.gpkg", "-m", model, "--force").returncode == 0


def test_the_whole_image(folder):
    """Without features the image is one object, brought to the network's size, and the table has its outline."""
    pixels = scene_pixels()[:, :256, :256]
    write_raster(folder / "scene.tif", pixels, cell=1.0)
    table, printed = classify("scene.tif", "-m", colour_model(folder, size=64))
    means = pixels.reshape(3, 64, 4, 64, 4).mean((2, 4))
    assert_scores(table, [by_hand(folder / "net.onnx", means)], COLOURS)
    assert (table["item_id"].tolist(), printed["features"]) == (["scene"], 1)
    assert shapely.equals(table.geometry[0], outline((0, 0, 256, 256)))
    larger, _ = classify("scene.tif", "-m", colour_model(folder, size=400))
    assert_scores(larger, [by_hand(folder / "net.onnx", resized(pixels, (400, 400)))], COLOURS)


def test_cell_size_and_bands(folder):
    """Chips are cut at the cell size asked for, from the assets asked for."""
    pixels = scene_pixels()
    for name, band in zip("abc", pixels, strict=True):
        write_raster(folder / f"{name}.tif", band[None], cell=1.0)
    write_item(folder, {name: {"href": folder / f"{name}.tif"} for name in "abc"})
    model = colour_model(folder, size=16, ExtractBands=["Red", "Green", "Blue"])
    write_features(folder / "in.parquet", [outline(place) for place in PLACES])
    bands = [word for pair in ("Red=b", "Green=a", "Blue=c") for word in ("--band", pair)]
    table, _ = classify("scene.json", "in.parquet", "-m", model, "--cell-size", 2, *bands)
    means = pixels[[1, 0, 2]].reshape(3, 150, 2, 130, 2).mean((2, 4))
    scores = []
    for top, left, bottom, right in PLACES:
        row, col = (top + bottom + 2) // 4 - 8, (left + right + 2) // 4 - 8
        chip = np.pad(means, ((0, 0), (16, 16), (16, 16)))[:, row + 16 : row + 32, col + 16 : col + 32]
        scores.append(by_hand(folder / "net.onnx", chip))
    assert_scores(table, scores, COLOURS)


def test_map_space(folder):
    """With MAP_SPACE chips have north above though the raster has south above; with PIXEL_SPACE they lie as it does."""
    pixels = scene_pixels()
    turned = Affine(1, 0, 300000, 0, 1, 5300040 - 300)
    write_raster(folder / "turned.tif", pixels[:, ::-1], cell=1.0, transform=turned)
    # Rows count more the lower they are in the chip.
    weight = np.zeros((2, 3, 32, 32), "float32")
    weight[0] = np.linspace(-0.01, 0.01, 32)[:, None]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, 1, 1])],
        [numpy_helper.from_array(weight, "w")],
    )
    net = save(graph, folder / "net.onnx")
    keys = {"Classes": SHARES, "ImageHeight": 32, "ImageWidth": 32}
    place = (6, 38, 38, 70)
    write_features(folder / "in.parquet", [outline(place)])
    chip = cut("scene.tif", *centred(place, 32))
    for space, seen in (("MAP_SPACE", chip), ("PIXEL_SPACE", chip[:, ::-1])):
        model = classifier(folder, ImageSpaceUsed=space, **keys)
        table, _ = classify("turned.tif", "in.parquet", "-m", model)
        assert_scores(table, [softmax(by_hand_raw(net, seen))], SHARES)


def by_hand_raw(net: Path, chip: np.ndarray) -> np.ndarray:
    """Return the (K,) logits of a network as it is."""
    session = onnxruntime.InferenceSession(net.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": chip[None].astype("float32")})[0].reshape(-1)


def test_each_block_is_decoded_once(folder):
    """Chips strewn over a scene of many blocks are read in an order in which no block is decoded twice."""
    pixels = np.random.default_rng(1).integers(1, 200, (3, 2100, 2300)).astype("uint8")
    write_raster(folder / "large.tif", pixels, cell=1.0)
    package = load_package(str(colour_model(folder)))
    rows, cols = np.random.default_rng(2).uniform((0, 0), (2100, 2300), (500, 2)).T
    shapes = shapely.points(*(TRANSFORM @ (cols, rows)))
    plan = plan_objects(
        read_source(str(folder / "large.tif")), load_object_classifier(package), Arguments(), (shapes, "EPSG:32633")
    )
    touched = set()
    for window in plan.windows:
        rows, cols = cells(window.top, window.bottom), cells(window.left, window.right)
        touched |= {(row, col) for row in rows for col in cols}
    with SceneReader(plan.planned.plan, budget_bytes=16 << 20) as reader:
        reader.announce(plan.windows)
        for window in plan.windows:
            assert reader.read(window).pixels.shape == (3, 32, 32)
        assert reader.store.loaded <= len(touched)
        assert reader.store.most_bytes < 17 << 20
    assert sorted(plan.order.tolist()) == list(range(500))


def cells(first: int, last: int) -> range:
    """Return the numbers of the cells of 512 pixels that a range touches."""
    return range(max(first, 0) // 512, (max(last, 1) - 1) // 512 + 1)


def test_other_models_are_refused(folder):
    """Models that classify pixels or find objects are refused with what they are."""
    model = colour_model(folder, ModelType="ObjectDetection")
    write_features(folder / "in.gpkg", [outline(place) for place in PLACES])
    done = geodl_here("detections", "classify", "scene.tif", "in.gpkg", "-m", model)
    assert done.returncode == 2
    assert "ModelType: expected ObjectClassification, found ObjectDetection" in done.stderr


@pytest.mark.shared
def test_handwritten_digits(folder, shared):
    """A real network of handwritten digits reads those drawn into a scene, each with the score of its chip by hand."""
    (folder / "mnist.onnx").write_bytes((shared / "data/cntk_mnist/mnist.onnx").read_bytes())
    model = write_emd(
        folder,
        "mnist.onnx",
        ModelType="ObjectClassification",
        ExtractBands=[0],
        Padding=None,
        ImageHeight=28,
        ImageWidth=28,
        Classes=[{"Value": digit, "Name": f"digit {digit}"} for digit in range(10)],
    )
    strokes = {
        0: [[(9, 6), (18, 6), (20, 14), (18, 22), (9, 22), (7, 14), (9, 6)]],
        1: [[(14, 4), (14, 24)]],
        4: [[(9, 5), (8, 14), (19, 14)], [(18, 5), (18, 24)]],
        7: [[(7, 6), (20, 6), (12, 24)]],
    }
    places = [(10, 12), (60, 100), (120, 30), (200, 150)]
    pixels = np.zeros((1, 260, 220), "uint8")
    for (row, col), lines in zip(places, strokes.values(), strict=True):
        drawn = shapely.MultiLineString(lines).buffer(1.3)
        pixels[0, row : row + 28, col : col + 28] = rasterio.features.rasterize([(drawn, 255)], (28, 28))
    write_raster(folder / "digits.tif", pixels, cell=1.0)
    write_features(folder / "in.gpkg", [outline((row, col, row + 28, col + 28)) for row, col in places])
    table, _ = classify("digits.tif", "in.gpkg", "-m", model)
    assert table["class_id"].tolist() == list(strokes)
    chips = [cut("digits.tif", row, col, 28, 28) for row, col in places]
    scores = [by_hand(folder / "mnist.onnx", chip) for chip in chips]
    assert_scores(table, scores, [{"Value": digit, "Name": f"digit {digit}"} for digit in range(10)])
