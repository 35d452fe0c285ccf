"""Models that classify given objects, the chips that they are given, and the columns of their answers."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geodl_core.domain.emd.definition import Emd, parse_emd
from geodl_core.domain.grid import Grid, pixel_to_map
from geodl_core.domain.model.classes import BACKGROUND
from geodl_core.domain.model.object_chips import (
    chip_window,
    inside,
    is_on_grid,
    reading_order,
    seen_pixels,
    shapes_on_grid,
)
from geodl_core.domain.model.object_classes import (
    Columns,
    all_scores,
    choose_classes,
    column_names,
    columns_of,
    require_new,
)
from geodl_core.domain.model.object_classifier import ObjectClassifier, make_object_classifier
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.domain.pixels.chip import Chip
from geodl_core.domain.window import Window
from geodl_core.errors import InputError, ModelError

CLASSES = [{"Value": value, "Name": name} for value, name in ((3, "whole"), (5, "damaged"), (9, "gone"))]
GRID = Grid("EPSG:32633", (10.0, 0.0, 300000.0, 0.0, -10.0, 5300040.0), 100, 120)


def emd_of(**fields: object) -> Emd:
    base = {"ModelFile": "x.onnx", "ModelType": "ObjectClassification", "Classes": CLASSES, "ImageHeight": 64}
    document = {**base, "ImageWidth": 48, "ExtractBands": [0, 1, 2], **fields}
    return parse_emd(json.dumps({key: value for key, value in document.items() if value is not None}), "m.emd")


def graph_of(source: Any, *results: Tensor, activations: tuple[str | None, ...] = ()) -> Graph:
    given_ = activations or (None,) * len(results)
    return Graph((Tensor("x", "float32", source),), results, given_, opset=17, digest="ab" * 32)


def classifier_of(
    source: Any = (None, 3, None, None), result: Any = (None, 3), activation: str | None = None, **fields: object
) -> ObjectClassifier:
    graph = graph_of(source, Tensor("y", "float32", result), activations=(activation,))
    return make_object_classifier(emd_of(**fields), graph, "my model")


def test_defaults() -> None:
    """A network of logits takes chips of the definition's size, all alike and not blackened, and gets a softmax."""
    found = classifier_of()
    assert (found.crop_px, found.model.chip_px) == ((64, 48), (64, 48))
    assert (found.is_crop_fixed, found.is_blackened, found.is_map_space, found.threshold) == (True, False, False, None)
    assert (found.answer, found.model.output, found.model.result.shape) == ("y", "scores", (None, 3, 1, 1))
    assert (found.model.is_activated, found.model.batch, found.model.name) == (False, None, "my-model")
    assert found.model.notes[-1] == "the scores are logits: a softmax is applied"


def test_keys_of_crops() -> None:
    """`CropSizeFixed`, `BlackenAroundFeature`, `ImageSpaceUsed`, `Threshold` are taken as the definition has them."""
    found = classifier_of(CropSizeFixed=0, BlackenAroundFeature=1, ImageSpaceUsed="MAP_SPACE", Threshold=0.4)
    assert (found.is_crop_fixed, found.is_blackened, found.is_map_space, found.threshold) == (False, True, True, 0.4)
    assert not classifier_of(CropTileMode="BOUNDING_BOX").is_crop_fixed
    assert classifier_of(CropTileMode="Fixed_Size", ImageSpaceUsed="PIXEL_SPACE").is_crop_fixed


@pytest.mark.parametrize(
    ("source", "fields", "crop", "chip"),
    [
        ((None, 3, 32, 32), {}, (64, 48), (32, 32)),
        ((None, 3, None, None), {"resize_to": 128}, (64, 48), (128, 128)),
        ((None, 3, None, None), {"resize_to": [96, 80]}, (64, 48), (96, 80)),
        ((1, 3, 28, 30), {"ImageHeight": None, "ImageWidth": None}, (28, 30), (28, 30)),
        ((1, 32, 40, 3), {}, (64, 48), (32, 40)),
    ],
)
def test_sizes(source: Any, fields: dict[str, Any], crop: Any, chip: Any) -> None:
    """Chips are cut as the definition says; the network is given what it or `resize_to` asks for."""
    found = classifier_of(source, (source[0], 3), **fields)
    assert (found.crop_px, found.model.chip_px) == (crop, chip)


def test_a_size_that_nothing_says_is_noted() -> None:
    """Where neither definition nor graph say a size, 224 pixels are used, with a note."""
    found = classifier_of(ImageHeight=None, ImageWidth=None)
    assert found.crop_px == found.model.chip_px == (224, 224)
    assert "224" in found.model.notes[0]


@pytest.mark.parametrize("result", [(None, 3), (None, 3, 1, 1), (None, 1, 1, 3), (1, 1, 3), (None, 3, 1)])
def test_rows_of_scores(result: Any) -> None:
    """A row of scores is one whatever axes of length 1 stand beside it; the class ids follow by position."""
    found = classifier_of(result=result, activation="Softmax")
    assert found.model.indices_to_ids == (3, 5, 9)
    assert found.model.is_activated


def test_one_score_is_of_the_second_class() -> None:
    """A single score tells two classes apart; one class alone gets a background before it."""
    two = classifier_of(result=(None, 1), activation="Sigmoid", Classes=CLASSES[:2])
    assert (two.model.output, two.model.indices_to_ids) == ("mask", (3, 5))
    one = classifier_of(result=(None, 1), Classes=[{"Value": 1, "Name": "tree"}])
    assert one.model.classes[0] == BACKGROUND
    assert one.model.indices_to_ids == (0, 1)
    assert one.model.notes[-1] == "the scores are logits: a sigmoid is applied"


def test_class_index_by_value_or_position() -> None:
    """Where the Values are the indices they are the class ids, in whatever order the definition lists them."""
    shuffled = [{"Value": value, "Name": f"c{value}"} for value in (2, 0, 1)]
    assert classifier_of(Classes=shuffled).model.indices_to_ids == (0, 1, 2)
    assert classifier_of().model.indices_to_ids == (3, 5, 9)


def test_the_scores_among_several_outputs() -> None:
    """Of several rows that a network gives, the one with as many numbers as there are classes is taken."""
    rows = [Tensor("features", "float32", (None, 512)), Tensor("scores", "float32", (None, 3))]
    assert make_object_classifier(emd_of(), graph_of((None, 3, 64, 48), *rows), "m").answer == "scores"


def test_arcgis_networks_of_three_bands_are_fed_as_imagenet() -> None:
    """Scaling is that of pixel classification: ImageNet's statistics for three-band networks of arcgis.learn."""
    found = classifier_of(Framework="arcgis.learn.models._inferencing", ModelConfiguration="_FeatureClassifier")
    assert found.model.scaling.mean == (0.485, 0.456, 0.406)
    assert classifier_of(DataRange=[0, 1]).model.scaling.data_range == (0, 1)


@pytest.mark.parametrize("kind", ["ImageClassification", "ObjectDetection", "InstanceDetection"])
def test_other_models_are_refused(kind: str) -> None:
    """A model that classifies pixels or finds objects is refused by its type."""
    with pytest.raises(ModelError, match=f"ModelType: expected ObjectClassification, found {kind}"):
        classifier_of(ModelType=kind)


@pytest.mark.parametrize(
    ("source", "result", "fields", "message"),
    [
        ((None, 3, 64, 64), (None, 3, 64, 64), {}, "one row of scores"),
        ((None, 3, 64), (None, 3), {}, "one input of four dimensions"),
        ((None, 3, 64, 64), (None, 4, 5), {}, "one row of scores"),
        ((None, 4, 64, 64), (None, 3), {}, "takes 4 channels"),
        ((None, 3, 64, 64), (None, 7), {}, "7 classes apart"),
        ((None, 3, 64, 64), (None, 3), {"resize_to": 32}, "resize_to is 32"),
    ],
)
def test_definitions_that_do_not_fit_are_refused(source: Any, result: Any, fields: Any, message: str) -> None:
    """What a definition and its graph disagree on is said."""
    with pytest.raises(ModelError, match=message):
        classifier_of(source, result, **fields)


def test_labels_without_scores_are_refused() -> None:
    """A network that gives the number of a class has no score to give."""
    graph = graph_of((None, 3, 64, 64), Tensor("y", "int64", (None, 1)))
    with pytest.raises(ModelError, match="one row of scores"):
        make_object_classifier(emd_of(), graph, "m")


def test_fixed_chips_are_centred() -> None:
    """A chip of fixed size has the middle of the object's bounding box at its middle, to half a pixel."""
    classifier = classifier_of(ImageHeight=10, ImageWidth=6)
    assert chip_window(shapely.box(20, 30, 24, 38), classifier) == Window(29, 19, 39, 25)
    assert chip_window(shapely.Point(50.5, 50.5), classifier) == Window(46, 48, 56, 54)
    assert chip_window(shapely.Point(50, 50), classifier) == Window(45, 47, 55, 53)


def test_boxes_of_objects() -> None:
    """With `CropSizeFixed` 0 a chip is the smallest box of whole pixels; a larger object is cropped as with 1."""
    classifier = classifier_of(CropSizeFixed=0, ImageHeight=10, ImageWidth=6)
    assert chip_window(shapely.box(20.4, 30.0, 24, 38.0001), classifier) == Window(30, 20, 38, 24)
    assert chip_window(shapely.box(20.4, 30.4, 20.6, 30.6), classifier) == Window(30, 20, 31, 21)
    assert chip_window(shapely.box(20, 30, 27, 38), classifier) == Window(29, 21, 39, 27)
    with pytest.raises(InputError, match="CropSizeFixed is 0"):
        chip_window(shapely.Point(1, 1), classifier)


@given(
    st.floats(-50, 150), st.floats(-50, 150), st.floats(0, 60), st.floats(0, 60), st.integers(1, 64), st.integers(1, 64)
)
def test_every_chip_fits(x: float, y: float, width: float, height: float, rows: int, cols: int) -> None:
    """A box of an object holds it to a thousandth of a pixel and is no larger than allowed; else it is centred."""
    shape = shapely.box(x, y, x + width, y + height)
    classifier = classifier_of(CropSizeFixed=0, ImageHeight=rows, ImageWidth=cols)
    window = chip_window(shape, classifier)
    assert 1 <= window.height <= rows
    assert 1 <= window.width <= cols
    if window.shape != (rows, cols):
        assert window.left <= x + 2e-3
        assert window.right >= x + width - 2e-3
        assert window.top <= y + 2e-3
        assert window.bottom >= y + height - 2e-3
    fixed = chip_window(shape, replace(classifier, is_crop_fixed=True))
    assert fixed.shape == (rows, cols)
    assert abs((fixed.left + fixed.right) / 2 - (x + width / 2)) <= 0.51
    assert abs((fixed.top + fixed.bottom) / 2 - (y + height / 2)) <= 0.51


def test_shapes_come_to_the_grid() -> None:
    """Shapes of another CRS are brought to pixels, as PROJ brings their points; missing and empty ones are None."""
    to_degrees = pyproj.Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(*pixel_to_map(GRID, 40, 30))
    found = shapes_on_grid(
        np.array([shapely.Point(lon, lat), None, shapely.Point(), shapely.Point(lon, lat, 7)]), "EPSG:4326", GRID
    )
    assert np.allclose(shapely.get_coordinates(found[[0, 3]]), [[30, 40]] * 2, atol=1e-4)
    assert found[1] is None
    assert found[2] is None
    assert list(shapes_on_grid(np.array([None, None], object), "EPSG:4326", GRID)) == [None, None]


def test_windows_on_the_grid() -> None:
    """A window that only touches the grid has none of its pixels."""
    assert is_on_grid(Window(-5, -5, 1, 1), GRID)
    assert not is_on_grid(Window(-5, -5, 0, 3), GRID)
    assert not is_on_grid(Window(0, 120, 5, 130), GRID)


def test_reading_order_goes_along_rows_of_blocks() -> None:
    """Chips of one row of blocks are read one after the other from left to right, panel by panel."""
    places = [(600, 0), (0, 900), (20, 0), (700, 900), (10, 1200), (900, 2000)]
    windows = [Window(top, left, top + 10, left + 10) for top, left in places]
    assert reading_order(windows, 0) == [2, 1, 4, 0, 3, 5]
    assert reading_order(windows, 1024) == [2, 1, 0, 3, 4, 5]


@given(st.integers(0, 10_000))
def test_pixels_of_an_object(seed: int) -> None:
    """The pixels of a polygon are those that rasterio burns: with their centre in it."""
    rng = np.random.default_rng(seed)
    shape = shapely.Polygon(rng.uniform(0, 20, (5, 2))).buffer(1.5)
    found = inside(shape, Window(-2, 3, 18, 20))
    expected = rasterio.features.geometry_mask([shape], (20, 17), Affine.translation(3, -2), invert=True)
    assert (found == expected).all()


def test_pixels_of_slivers_lines_and_points() -> None:
    """Where no centre lies inside, the pixels that are touched count; of points the whole chip."""
    window = Window(0, 0, 6, 8)
    sliver = shapely.box(1.6, 2.1, 5.4, 2.3)
    assert np.argwhere(inside(sliver, window)).tolist() == [[2, col] for col in range(1, 6)]
    line = shapely.LineString([(0.5, 0.2), (0.5, 3.2)])
    expected = rasterio.features.geometry_mask([line], (6, 8), Affine.identity(), all_touched=True, invert=True)
    assert (inside(line, window) == expected).all()
    assert inside(shapely.Point(3, 3), window).all()
    assert not inside(shapely.box(20, 20, 20.1, 20.1), window).any()


def test_blackened_chips() -> None:
    """With `BlackenAroundFeature` the pixels outside an object are 0, else they stay; the type is the stored one."""
    pixels = np.arange(1, 2 * 4 * 4 + 1, dtype="uint16").reshape(2, 4, 4)
    chip = Chip(pixels, np.ones((4, 4), bool))
    mask = inside(shapely.box(1, 1, 3, 3), Window(0, 0, 4, 4))
    fields = {"ImageHeight": 4, "ImageWidth": 4}
    plain = seen_pixels(chip, mask, classifier_of(**fields))
    black = seen_pixels(chip, mask, classifier_of(BlackenAroundFeature=True, **fields))
    assert (plain == pixels).all()
    assert black.dtype == "uint16"
    assert (black == pixels * mask).all()


def test_chips_of_another_size_keep_their_proportions() -> None:
    """A chip is enlarged until it just fits, in the middle of zeros."""
    chip = Chip(np.full((1, 4, 8), 7, "uint8"), np.ones((4, 8), bool))
    seen = seen_pixels(chip, chip.valid, classifier_of(CropSizeFixed=0, ImageHeight=16, ImageWidth=24))
    assert seen.shape == (1, 16, 24)
    assert np.allclose(seen[0, 2:14], 7)
    assert not seen[0, :2].any()
    assert not seen[0, 14:].any()


def test_choosing_classes() -> None:
    """The best score decides, the first of equal ones; below the threshold or unseen there is no class."""
    each = np.array([[0.2, 0.7, 0.1], [0.4, 0.4, 0.2], [np.nan] * 3, [0.3, 0.3, 0.4]], "float32")
    found = choose_classes(each, classifier_of(), 0.4)
    assert found.ids.tolist() == [5, 3, 0, 9]
    assert found.is_classified.tolist() == [True, True, False, True]
    assert choose_classes(each, classifier_of(), 0.5).is_classified.tolist() == [True, False, False, False]
    assert found.scores[[0, 1, 3]].tolist() == each[[0, 1, 3], [1, 0, 2]].tolist()
    assert np.isnan(found.scores[2])


def test_one_score_becomes_two() -> None:
    """A single score is that of the second class; what is left is the first one's."""
    single = classifier_of(result=(None, 1), activation="Sigmoid", Classes=CLASSES[:2])
    scores = all_scores(np.array([0.25, 0.75], "float32").reshape(2, 1, 1, 1), single)
    assert scores.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    with pytest.raises(ModelError, match="2 scores an object, expected 3"):
        all_scores(np.zeros((1, 2, 1, 1)), classifier_of())


def test_columns() -> None:
    """Columns are `class_id`, `class_name` and `score`, or ArcGIS's, each class's where asked for."""
    classifier = classifier_of()
    found = choose_classes(np.array([[0.25, 0.5, 0.25], [np.nan] * 3], "float32"), classifier, 0)
    columns = columns_of(found, classifier, Columns())
    assert list(columns) == column_names(classifier, Columns()) == ["class_id", "class_name", "score"]
    assert columns["class_id"].tolist() == [5, None]
    assert columns["class_name"].tolist() == ["damaged", None]
    wide = columns_of(found, classifier, Columns(is_arcgis=True, has_all_scores=True, prefix="d_"))
    assert list(wide) == ["d_ClassLabel", "d_Confidence", *(f"d_Confidence_{x}" for x in ("whole", "damaged", "gone"))]
    assert [values[0] for values in wide.values()] == ["damaged", 50.0, 25.0, 50.0, 25.0]
    twins = classifier_of(Classes=[{"Value": value, "Name": "x"} for value in (1, 2, 3)])
    assert column_names(twins, Columns(has_all_scores=True))[3:] == ["score_x 1", "score_x 2", "score_x 3"]


def test_columns_are_never_lost() -> None:
    """New columns with the name of one that is there are refused, whatever the case."""
    with pytest.raises(InputError, match="the columns class_id, score already"):
        require_new(["class_id", "score", "class_name"], ["Class_ID", "score", "geometry"])
    require_new(["d_score"], ["score"])
