"""`geodl model …` with detectors and object classifiers: proposed, looked at, checked, registered, packed and run."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import onnx
import pytest
import rasterio
from onnx import TensorProto, helper, numpy_helper

import detectors
import detectors_finished
from commands import geodl_here
from geodl_core.io.package.package import load_package
from networks import conv_network, save, write_emd
from perfect import NAMES, write_detector, write_objects
from scenes import write_raster

ROOT = Path(__file__).parents[2]
TRUTH = [(30, 40, 70, 90, 0), (120, 20, 150, 60, 1), (200, 200, 260, 240, 2), (300, 100, 330, 160, 1)]
"""xmin, ymin, xmax, ymax in pixels, and class."""
SHAPE = (280, 360)
ABC = [{"Value": value, "Name": name} for value, name in ((1, "a"), (2, "b"), (3, "c"))]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a test works in, with a catalog and a cache of its own."""
    for name in ("GEODL_OUT", "GEODL_CATALOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GEODL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def geodl(*words: Any) -> str:
    """Run a command, which must succeed, and return what it prints."""
    done = geodl_here(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*words: Any) -> str:
    """Run a command, which must refuse its input, and return its words."""
    done = geodl_here(*words)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "runs:" not in done.stdout
    return done.stderr


def objects_of(result: str) -> list[tuple[int, ...]]:
    """Return xmin, ymin, xmax, ymax and class of what a run found."""
    document = json.loads(result)
    table = gpd.read_parquet(Path(document["folder"]) / document["assets"]["detections"])
    boxes = table[[f"box_px_{side}" for side in ("xmin", "ymin", "xmax", "ymax")]].to_numpy()
    return sorted(tuple(row) for row in np.column_stack([np.rint(boxes), table["class_id"]]).astype(int).tolist())


def answering(folder: Path, answer: dict[str, np.ndarray], size: tuple[int, int] = (96, 128), **keys: Any) -> Path:
    """Write a detector that gives an answer whatever it sees, and its definition."""
    detectors_finished.answering_network(folder / "net.onnx", answer, size)
    usual = {"ModelType": "ObjectDetection", "ExtractBands": [0, 1, 2], "Padding": None}
    sizes = {"ImageHeight": size[0], "ImageWidth": size[1]}
    return write_emd(folder, **{**usual, **sizes, **keys})


def mean_classifier(folder: Path, **keys: Any) -> Path:
    """Write a model that tells which of three bands is the brightest of a chip, and its definition."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)]
    sizes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["n", 3, "h", "w"]), ("y", ["n", 3]))
    ]
    save(helper.make_graph(nodes, "mean", sizes[:1], sizes[1:]), folder / "net.onnx")
    usual = {"ModelType": "ObjectClassification", "ExtractBands": [0, 1, 2], "Padding": None}
    return write_emd(folder, **{**usual, "ImageHeight": 32, "ImageWidth": 32, **keys})


# the life of a model


def test_a_detector_from_its_network_to_its_objects(workplace: Path) -> None:
    """A detector without a definition is proposed, registered, run by name and exported: the same objects."""
    item = write_objects(workplace, TRUTH, SHAPE)
    write_detector(workplace)
    classes = [word for number, name in enumerate(NAMES) for word in ("--class", f"{number}:{name}")]
    said = geodl("model", "init", "net.onnx", "--force", "--bands", "0,1,2,3,4", "--threshold", "0.3", *classes)
    assert [line for line in said.splitlines() if line.startswith("open")] == [
        "open  values: are they as stored, or does the network want a range (--data-range 0,1)?"
    ]
    assert "net.emd runs: objects of 3 classes from 5 bands" in geodl("model", "validate", "net.emd", "--strict")
    assert geodl("model", "add", "net.emd", "--catalog", "c.db").startswith("registered net@")
    assert "object-detection" in geodl("model", "list", "--catalog", "c.db")
    card = geodl("model", "show", "net", "--catalog", "c.db")
    for part in ("object-detection", "2 Plane", "batch any, detection 4096, attribute 7"):
        assert part in card
    by_name = geodl("run", item, "-m", "net", "--catalog", "c.db", "-o", "out", "--json")
    assert objects_of(by_name) == sorted(TRUTH)
    geodl("model", "export", "net", "net.dlpk", "--catalog", "c.db")
    assert load_package("net.dlpk").emd_text == Path("net.emd").read_bytes()
    geodl("model", "pack", "net.emd", "-o", "packed.dlpk")
    for package in ("net.dlpk", "packed.dlpk"):
        assert geodl("model", "inspect", package, "--json") == geodl("model", "inspect", "net.emd", "--json")
    by_package = geodl("run", item, "-m", "packed.dlpk", "-o", "out2", "--json")
    assert objects_of(by_package) == sorted(TRUTH)
    assert json.loads(by_package)["id"] == json.loads(by_name)["id"]


def test_an_object_classifier_from_its_network_to_its_classes(workplace: Path) -> None:
    """A network of one row of scores is proposed, registered, shown, and classifies objects by its name."""
    pixels = np.random.default_rng(1).integers(0, 60, (3, 120, 150)).astype("uint8")
    pixels[1, 20:60, 30:70] = 220
    write_raster(workplace / "scene.tif", pixels, cell=1.0)
    mean_classifier(workplace)
    classes = ("--class", "7:red", "--class", "8:green", "--class", "9:blue")
    said = geodl("model", "init", "net.onnx", "--force", "--tile-size", "16", "--bands", "0,1,2", *classes)
    assert "CropSizeFixed" in said
    assert "net.emd runs: classification of objects, into 3 classes from 3 bands" in geodl(
        "model", "validate", "net.emd"
    )
    geodl("model", "add", "net.emd", "--catalog", "c.db")
    card = geodl("model", "show", "net", "--catalog", "c.db")
    assert "y float32 batch any, class 3" in card
    with rasterio.open("scene.tif") as dataset:
        affine, crs = dataset.transform, dataset.crs
    corners = [affine @ place for place in ((30, 20), (70, 60))]
    box = gpd.GeoSeries.from_wkt(
        [f"POINT ({(corners[0][0] + corners[1][0]) / 2} {(corners[0][1] + corners[1][1]) / 2})"]
    )
    gpd.GeoDataFrame(geometry=box.set_crs(crs)).to_file("objects.gpkg")
    words = ("-m", "net", "--catalog", "c.db", "-o", "classes.gpkg")
    geodl("detections", "classify", "scene.tif", "objects.gpkg", *words)
    assert gpd.read_file("classes.gpkg")["class_name"].tolist() == ["green"]


def test_a_configuration_comes_back_from_a_registry(workplace: Path) -> None:
    """What a definition says of its answer comes back byte for byte, and in meaning without the definition too."""
    objects = detectors_finished.some_objects()
    rows = detectors_finished.finished_answer(objects, order="class score xyxy")
    config = {"Name": "YOLOv10", "Config": {"order": "class score xyxy", "score_scale": 1, "Mine": [1.50, None]}}
    emd = answering(
        workplace, rows, ModelConfiguration=config, Classes=[{"Value": n, "Name": f"c{n}"} for n in range(3)]
    )
    emd.write_text(json.dumps(json.loads(emd.read_text()), indent=7))
    geodl("model", "add", "net.emd", "--catalog", "c.db")
    geodl("model", "export", "net", "net.dlpk", "--catalog", "c.db")
    assert load_package("net.dlpk").emd_text == emd.read_bytes()
    item = json.loads(geodl("model", "show", "net", "--catalog", "c.db", "--json"))
    assert item["properties"]["mlm:architecture"] == "YOLOv10"
    assert item["properties"]["mlm:hyperparameters"]["emd.ModelConfiguration"] == config
    del item["assets"]["emd"]
    Path("item.json").write_text(json.dumps(item))
    geodl("model", "add", "item.json", "--catalog", "other.db")
    geodl("model", "export", "net", "again.dlpk", "--catalog", "other.db")
    assert load_package("again.dlpk").emd == load_package("net.dlpk").emd


# cards


def test_the_card_of_a_detector(workplace: Path) -> None:
    """A detector's card says its form, coordinates, labels, threshold, suppression, and how large objects may be."""
    write_detector(workplace, Padding=40)
    card = json.loads(geodl("model", "inspect", "net.emd", "--json"))
    assert card["task"] == "ObjectDetection"
    assert card["form"] == "yolo: boxes"
    assert card["boxes"] == "pixels"
    assert card["labels"] == "0 to 2, by position: 10, 11, 12"
    assert card["threshold"] == "0.3"
    assert "0.45" in card["overlap"]
    assert card["halo"] == "40 pixels, from Padding: objects up to 64 pixels are seen whole"


def test_the_card_of_a_detector_that_suppresses(workplace: Path) -> None:
    """Of a network that suppresses by itself, the card says so."""
    answer = detectors_finished.tensorflow_answer(detectors_finished.some_objects(), (96, 128))
    answering(workplace, answer)
    card = json.loads(geodl("model", "inspect", "net.emd", "--json"))
    assert card["boxes"] == "normalised (shares of the image)"
    assert card["overlap"].startswith("none")
    assert card["halo"].startswith("24 pixels, from a quarter of ImageHeight")


def test_the_card_of_an_object_classifier(workplace: Path) -> None:
    """An object classifier's card says how chips are cut and what the network is given."""
    mean_classifier(workplace, CropSizeFixed=0, BlackenAroundFeature=1, ImageSpaceUsed="MAP_SPACE", Threshold=0.4)
    card = json.loads(geodl("model", "inspect", "net.emd", "--json"))
    assert card["chips"] == "32 × 32 pixels, as large as the object, that at most; seen as 32 × 32"
    assert card["around"] == "0 outside of the object"
    assert card["upright"].startswith("north above")
    assert card["threshold"].startswith("0.4")
    mean_classifier(workplace, resize_to=[64, 48])
    card = json.loads(geodl("model", "inspect", "net.emd", "--json"))
    assert card["chips"] == "32 × 32 pixels, centred on the object; seen as 64 × 48"
    assert (card["around"][:4], card["upright"]) == ("what", "as the raster lies")
    assert card["threshold"].startswith("none")


def test_each_note_is_said_once(workplace: Path) -> None:
    """`validate` prints no line twice: not repairs, not how the objects are found."""
    write_detector(workplace, Padding="40")
    lines = geodl("model", "validate", "net.emd").splitlines()
    assert len(lines) == len(set(lines))
    assert sum("holds, a box, " in line for line in lines) == 1
    assert sum("Padding" in line for line in lines) == 1


# what is wrong


@pytest.mark.parametrize("declared", ["ImageClassification", "ObjectDetection", "ObjectClassification", None])
@pytest.mark.parametrize(("kind", "fitting"), [
    ("pixels", "ImageClassification"), ("boxes", "ObjectDetection"), ("masks", "InstanceDetection"),
    ("row", "ObjectClassification"),
])  # fmt: skip
def test_a_type_that_contradicts_the_network(workplace: Path, kind: str, fitting: str, declared: str | None) -> None:
    """Where ModelType and the network's answer contradict each other, `validate` says which type would fit."""
    objects = detectors_finished.some_objects()
    if kind == "pixels":
        conv_network(workplace / "net.onnx", channels=3)
    elif kind == "row":
        mean_classifier(workplace)
    else:
        answering(workplace, detectors_finished.torchvision_answer(objects))
        if kind == "masks":
            answering(workplace, detectors_finished.keras_answer(objects, (96, 128)))
    keys = {"ExtractBands": [0, 1, 2], **dict.fromkeys(("ImageHeight", "ImageWidth", "Padding"))}
    write_emd(workplace, ModelType=declared, Classes=ABC, **keys)
    if declared == fitting or (kind == "masks" and declared == "ObjectDetection"):
        assert "runs: " in geodl("model", "validate", "net.emd")
        return
    assert f"hint: ModelType {fitting} fits\n" in refused("model", "validate", "net.emd")
    if kind != "boxes" or declared != "ObjectClassification":  # which five boxes may be taken for
        assert f"ModelType {fitting} fits" in json.loads(geodl("model", "inspect", "net.emd", "--json"))["notes"]
        assert fitting in refused("model", "add", "net.emd", "--catalog", "c.db")


def test_commands_name_one_another(workplace: Path) -> None:
    """`run` with an object classifier, and `detections classify` with a detector, say which command runs it."""
    write_raster(workplace / "scene.tif", np.ones((3, 64, 64), "uint8"))
    mean_classifier(workplace)
    assert "geodl detections classify" in refused("run", "scene.tif", "-m", "net.emd")
    assert "geodl detections classify" in refused("run", "scene.tif", "--help-model", "net.emd")
    write_detector(workplace)
    assert "geodl run" in refused("detections", "classify", "scene.tif", "-m", "net.emd")


def test_all_that_is_wrong_with_a_detector_is_said_at_once(workplace: Path) -> None:
    """Bands, size, range and classes of a detector that do not fit are one refusal."""
    write_detector(workplace, ExtractBands=[0, 1], ImageHeight=99, DataRange=[1, 0],
                   Classes=[{"Value": 1, "Name": "one"}, {"Value": 1, "Name": "two"}])  # fmt: skip
    said = refused("model", "validate", "net.emd")
    for part in ("ExtractBands names 2 bands", "ImageHeight is 99", "DataRange", "Classes"):
        assert part in said


def test_all_that_is_wrong_with_an_object_classifier_is_said_at_once(workplace: Path) -> None:
    """Bands, range and classes of an object classifier that do not fit are one refusal."""
    mean_classifier(workplace, ExtractBands=[0, 1], DataRange=[1, 0], Classes=[{"Value": 1, "Name": "one"}])
    said = refused("model", "validate", "net.emd")
    for part in ("ExtractBands names 2 bands", "DataRange", "3 classes apart"):
        assert part in said


def test_labels_that_are_no_class(workplace: Path) -> None:
    """A label that the network gives and Classes lacks is found before any scene is run."""
    answer = detectors_finished.torchvision_answer(detectors_finished.some_objects(classes=5))
    answering(workplace, answer, Classes=[{"Value": 1, "Name": "a"}, {"Value": 2, "Name": "b"}], Threshold=0.2)
    assert "the network gives the label 3" in refused("model", "validate", "net.emd")


def failing(path: Path, outputs: list[Any], kind: str) -> None:
    """Write a network that is in order until it is run: a table has too few rows for what is looked up in it."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "nine"], ["index"]),
        helper.make_node("Cast", ["index"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "row"], ["never"]),
        helper.make_node("Identity", ["x"], ["seen"])
        if kind == "Identity"
        else helper.make_node(kind, ["x", "axes"], ["seen"], keepdims=0),
        helper.make_node("Add", ["seen", "never"], ["y"]),
    ]
    weights = {"zero": np.float32(0), "nine": np.float32(9), "table": np.ones(2, "float32"), "axes": np.array([2, 3])}
    graph = helper.make_graph(
        nodes,
        "failing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)


@pytest.mark.parametrize(
    ("declared", "outputs", "kind"),
    [
        ("ImageClassification", ["n", 3, "h", "w"], "Identity"),
        ("ObjectClassification", ["n", 3], "ReduceMean"),
        ("ObjectDetection", ["n", 100, 7], "Identity"),
    ],
)
def test_a_network_that_fails_when_it_is_run(workplace: Path, declared: str, outputs: list[Any], kind: str) -> None:
    """`validate` runs the network of every kind, so that one that fails is refused with exit code 2."""
    failing(workplace / "net.onnx", outputs, kind)
    write_emd(workplace, ModelType=declared, ExtractBands=[0, 1, 2])
    assert "network" in refused("model", "validate", "net.emd")


# Items of others


def foreign(network: str, tasks: list[str], source: dict[str, Any], classes: list[dict[str, Any]]) -> dict[str, Any]:
    """An Item of a model as others write it: an ONNX asset, no EMD."""
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "theirs",
        "geometry": None,
        "properties": {
            "datetime": "2026-01-01T00:00:00Z",
            "mlm:name": "Their Objects",
            "mlm:architecture": "YOLOv5",
            "mlm:tasks": tasks,
            "mlm:input": [source],
            "mlm:output": [{"name": "boxes", "tasks": tasks, "classification:classes": classes}],
        },
        "assets": {"weights": {"href": network, "roles": ["mlm:model"], "mlm:artifact_type": "onnx"}},
        "links": [],
    }


@pytest.mark.parametrize("tasks", [["object-detection"], ["object-detection", "instance-segmentation"]])
def test_a_foreign_detector_runs(workplace: Path, tasks: list[str]) -> None:
    """An MLM Item of somebody else that says object-detection runs without a definition, and can be registered."""
    item = write_objects(workplace, TRUTH, SHAPE)
    write_detector(workplace)
    source = {
        "name": "image",
        "bands": [f"band_{number}" for number in range(1, 6)],
        "input": {
            "shape": [-1, 5, 256, 256],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
    }
    classes = [{"value": number, "name": name, "description": name} for number, name in enumerate(NAMES)]
    Path("theirs.json").write_text(json.dumps(foreign("net.onnx", tasks, source, classes)))
    result = geodl("run", item, "-m", "theirs.json", "-o", "out", "--json")
    assert objects_of(result) == sorted(TRUTH)
    geodl("model", "add", "theirs.json", "--catalog", "c.db")
    listed = geodl("model", "list", "--catalog", "c.db")
    assert ("instance-segmentation" if len(tasks) > 1 else "object-detection") in listed
    assert "Their-Objects" in listed


# the documentation


def examples() -> list[dict[str, Any]]:
    """Return what docs/models.md shows of definitions, each over the first of a detector."""
    blocks = re.findall(r"^```json\n(.*?)^```", (ROOT / "docs" / "models.md").read_text(), re.DOTALL | re.MULTILINE)
    found = [json.loads(block) for block in blocks]
    whole = next(each for each in found if each.get("ModelType") == "ObjectDetection" and "ModelFile" in each)
    return [{**whole, **each} for each in found]


def network_for(emd: dict[str, Any], path: Path, shared: Path) -> str:
    """Write a network as a definition of the documentation says it is; return what answers so."""
    configuration = emd.get("ModelConfiguration")
    name = configuration["Name"] if isinstance(configuration, dict) else configuration
    classes = len(emd["Classes"])
    known = detectors.known_boxes(1, 12, (640, 640), classes)
    found = detectors_finished.some_objects((640, 640), classes=classes)
    answers: dict[str, dict[str, np.ndarray]] = {
        "RT-DETR": detectors_finished.detr_answer(found, (640, 640), classes, activation="sigmoid"),
        "MaskRCNN": detectors_finished.torchvision_answer(found, has_masks=True),
        "ObjectDetectionAPI": detectors_finished.tensorflow_answer(found, (640, 640)),
    }
    if name in answers:
        layout = emd.get("ModelFormat", "NCHW")
        detectors_finished.answering_network(path, answers[name], (640, 640), layout)
    elif name == "SSD":
        shutil.copy(shared / "data" / "ultraface_ssd" / "version-slim-320_without_postprocessing.onnx", path)
    elif name == "YOLOv8":
        detectors.yolo_transposed_network(path, known)
    else:
        detectors.yolo_network(path, known, "pixels" if name is None else "normalised")
    return {None: "yolo", "YOLOv5": "yolo", "YOLOv8": "yolo transposed", "RT-DETR": "detr", "MaskRCNN": "torchvision",
            "SSD": "ssd raw", "ObjectDetectionAPI": "tensorflow"}[name]  # fmt: skip


@pytest.mark.shared
def test_detectors_of_the_documentation(workplace: Path, shared: Path) -> None:
    """Every detector that docs/models.md shows runs on a network that answers so, and is read as it says."""
    shown = [emd for emd in examples() if emd["ModelType"] in ("ObjectDetection", "InstanceDetection")]
    assert len(shown) == 7
    forms = set()
    for emd in shown:
        form = network_for(emd, workplace / emd["ModelFile"], shared)
        (workplace / "net.emd").write_text(json.dumps(emd))
        assert "runs: objects of" in geodl("model", "validate", "net.emd", "--strict")
        card = json.loads(geodl("model", "inspect", "net.emd", "--json"))
        assert card["form"].partition(":")[0] == form
        forms.add(form)
    assert len(forms) == 6


def test_object_classifiers_of_the_documentation(workplace: Path) -> None:
    """The object classifier that docs/models.md shows runs."""
    (emd,) = [emd for emd in examples() if emd["ModelType"] == "ObjectClassification"]
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["y"]),
    ]
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 224, 224]), ("y", [1, 2]))
    ]
    weights = [numpy_helper.from_array(np.ones((3, 2), "float32"), "w")]
    save(helper.make_graph(nodes, "g", infos[:1], infos[1:], weights), workplace / emd["ModelFile"])
    (workplace / "net.emd").write_text(json.dumps(emd))
    assert "into 2 classes" in geodl("model", "validate", "net.emd", "--strict")


# real networks


@pytest.mark.shared
def test_real_detectors_are_proposed(workplace: Path, shared: Path) -> None:
    """Networks of YOLOv5, YOLOX and SSD from the wild are told by their answers, and what is proposed is valid."""
    data = shared / "data"
    classes = json.loads((data / "dior_yolov5n" / "classes.json").read_text())
    names = classes if isinstance(classes, list) else list(classes.values())
    for path, form, coordinates, labels in (
        (data / "dior_yolov5n" / "yolov5n-diorall-nhwc.onnx", "yolo", "normalised", names),
        (data / "yolox_nano" / "yolox_nano.onnx", "yolox", "pixels", [f"c{number}" for number in range(80)]),
        (data / "ultraface_ssd" / "version-RFB-320.onnx", "ssd", "normalised", ["face"]),
    ):
        words = [word for value, name in enumerate(labels) for word in ("--class", f"{value}:{name}")]
        geodl("model", "init", path, "-o", "net.emd", "--force", *words)
        document = json.loads(Path("net.emd").read_text())
        assert document["ModelType"] == "ObjectDetection"
        assert document["ModelConfiguration"]["Config"] == {"form": form, "coordinates": coordinates}
        said = geodl("model", "validate", "net.emd", "--strict")
        assert f"runs: objects of {len(labels)} classes from 3 bands" in said


@pytest.mark.shared
def test_a_real_detector_finds_cars(workplace: Path, shared: Path) -> None:
    """What is proposed for a network of YOLOv5 and told its classes finds the cars of a car park."""
    scene = shared / "data" / "oam_manila_cars" / "5b90f92da0d7280005fab355_4310.tif"
    with rasterio.open(scene) as dataset:
        window = rasterio.windows.Window(1248, 100, 800, 800)
        profile = {**dataset.profile, "width": 800, "height": 800, "transform": dataset.window_transform(window)}
        profile = {key: profile[key] for key in ("driver", "width", "height", "count", "dtype", "crs", "transform")}
        with rasterio.open("scene.tif", "w", **profile) as target:
            target.write(dataset.read(window=window))
    network = shared / "data" / "dior_yolov5n" / "yolov5n-diorall-nchw.onnx"
    words = [word for value in range(20) for word in ("--class", f"{value}:{'vehicle' if value == 2 else f'c{value}'}")]
    geodl("model", "init", network, "-o", "net.emd", "--data-range", "0,1", "--threshold", "0.25", *words)
    result = geodl("run", "scene.tif", "-m", "net.emd", "-o", "out", "--json")
    assert sum(kind == 2 for *_, kind in objects_of(result)) > 40
