"""Model definitions as they are found: real files against their meaning, the usual mistakes, and mutations."""

import json
import random
import time
import tracemalloc
from dataclasses import dataclass

import pytest

from geodl_core.domain.emd.definition import EmdReading, missing_for_run, parse_emd, read_emd, task_of, well_known_bands
from geodl_core.domain.emd.write import write_emd
from geodl_core.errors import GeodlError, ModelError

GREEN = (0, 255, 0)
RGB = (0, 1, 2)


@dataclass(frozen=True)
class Meaning:
    """What a person reads in a definition."""

    task: str
    framework: str | None
    configuration: str | None
    file: str | None
    size: tuple[int, int]
    bands: tuple[int, ...]
    class_count: int
    first: tuple[int, str, tuple[int, int, int]]
    last: tuple[int, str, tuple[int, int, int]]
    name: str | None = None
    version: str | None = "2019.02"
    padding: tuple[int | None, int | None] = (None, None)
    """`ModelPadding` and `Padding`."""
    batch: int | None = None
    data_range: tuple[float, float] | None = None


EVERGREEN = (0, "Evergreen Forest", (0, 51, 0))
IMPERVIOUS = (5, "Impervious Surface", (236, 236, 236))
FILES = {
    "esri_emd_samples/DraftTemplateEMD.emd": Meaning(
        "ObjectDetection",
        None,
        None,
        "frozen_inference_graph.pb",
        (512, 512),
        RGB,
        2,
        (1, "Airplane", GREEN),
        (2, "Calf", (255, 255, 0)),
        version=None,
        padding=(None, 0),
        batch=64,
        data_range=(0.1, 1.0),
    ),
    "esri_emd_samples/azure_pixel_level_land_classification.emd": Meaning(
        "ImageClassification",
        "CNTK",
        "AzurePixelLevelLandClassification",
        ".\\trained.model",
        (256, 256),
        (0, 1, 2, 3),
        6,
        EVERGREEN,
        IMPERVIOUS,
        "AzurePixelLevelLandClassification_CNTK",
        padding=(64, None),
        data_range=(0, 1),
    ),
    "esri_emd_samples/cntk_fasterrcnn_coconut_tree.emd": Meaning(
        "ObjectDetection",
        "CNTK",
        "FasterRCNN",
        ".\\CoconutTreeDetection.model",
        (850, 850),
        RGB,
        1,
        (0, "CoconutTree", GREEN),
        (0, "CoconutTree", GREEN),
        "CoconutTree_FasterRCNN_CNTK",
        batch=1,
    ),
    "esri_emd_samples/mask_rcnn.emd": Meaning(
        "ObjectDetection",
        "Keras",
        "MaskRCNN",
        ".\\mask_rcnn_spacenet_0053.h5",
        (650, 650),
        RGB,
        1,
        (1, "Building", GREEN),
        (1, "Building", GREEN),
        "Keras_MaskRCNN",
    ),
    "esri_emd_samples/HouseDamageClassifier_ProBuiltin.emd": Meaning(
        "ObjectClassification",
        "Keras",
        "KerasClassifier",
        ".\\Damage_Classification_Model_V7.h5",
        (256, 256),
        RGB,
        2,
        (0, "undamaged", GREEN),
        (1, "damaged", GREEN),
        "HouseDamageClassifier",
    ),
    "esri_emd_samples/woolseyFire_600_50.emd": Meaning(
        "ObjectClassification",
        "PyTorch",
        "FeatureClassifier",
        "woolseyFire_600_50.pth",
        (600, 600),
        RGB,
        2,
        (1, "Damaged", (17, 157, 34)),
        (2, "Undamaged", (158, 187, 171)),
        "WoolseyFire_FeatureClassifier",
    ),
    "esri_emd_samples/pytorch_fastai_ssd.emd": Meaning(
        "ObjectDetection",
        "PyTorch",
        "FastaiSSD",
        ".\\9.h5",
        (224, 224),
        RGB,
        1,
        (0, "Pool", GREEN),
        (0, "Pool", GREEN),
        "FastAI_SSD_PyTorch",
    ),
    "esri_emd_samples/tensorflow_deeplab_landclassification.emd": Meaning(
        "ImageClassification",
        "TensorFlow",
        "DeepLab",
        ".\\frozen_inference_graph.pb",
        (256, 256),
        RGB,
        6,
        EVERGREEN,
        IMPERVIOUS,
        "LandClassification_DeepLab_TF",
        batch=1,
    ),
    "esri_emd_samples/tensorflow_objectdetectionapi_coconuttree.emd": Meaning(
        "ObjectDetection",
        "TensorFlow",
        "ObjectDetectionAPI",
        ".\\frozen_inference_graph.pb",
        (850, 850),
        RGB,
        1,
        (1, "Tree", GREEN),
        (1, "Tree", GREEN),
        "CoconutTree_TF_ObjectDetectionAPI",
    ),
    "esri_emd_samples/TextSAM.emd": Meaning(
        "ObjectDetection",
        None,
        None,
        None,
        (1024, 1024),
        RGB,
        1,
        (1, "Object", (186, 199, 208)),
        (1, "Object", (186, 199, 208)),
        version=None,
    ),
    "esri_emd_samples/xview_onnx.emd": Meaning(
        "ObjectDetection",
        "Onnx",
        "ObjectDetectionAPI",
        "saved_model.onnx",
        (300, 300),
        RGB,
        95,
        (1, "Clutter", (127, 127, 127)),
        (95, "Clutter", (127, 127, 127)),
        version=None,
    ),
    "esri_cntk_landclass/trained.emd": Meaning(
        "ImageClassification",
        "Onnx",
        "CntkLandClassification",
        "trained.onnx",
        (256, 256),
        (0, 1, 2, 3),
        6,
        EVERGREEN,
        IMPERVIOUS,
        version=None,
        padding=(64, None),
        data_range=(0, 1),
    ),
}


def meaning_of(reading: EmdReading) -> Meaning:
    emd = reading.emd
    configuration = emd.ModelConfiguration
    classes = [(entry.Value, entry.Name, entry.Color) for entry in emd.Classes]
    return Meaning(
        task_of(emd),
        emd.Framework,
        configuration["Name"] if isinstance(configuration, dict) else configuration,
        emd.ModelFile,
        (emd.ImageHeight, emd.ImageWidth),
        tuple(emd.ExtractBands),
        len(classes),
        classes[0],
        classes[-1],
        emd.ModelName,
        emd.Version,
        (emd.ModelPadding, emd.Padding),
        emd.BatchSize,
        emd.DataRange,
    )


@pytest.mark.shared
@pytest.mark.parametrize("name", FILES)
def test_real_files(shared, name):
    """Every real definition is read without a repair, means what it says, and is written with the same meaning."""
    content = (shared / "data" / name).read_bytes()
    reading = read_emd(content, name, is_strict=True)
    assert meaning_of(reading) == FILES[name]
    assert json.loads(write_emd(reading.emd)) == json.loads(content)
    assert parse_emd(write_emd(reading.emd), name) == reading.emd


@pytest.mark.shared
def test_no_real_file_is_forgotten(shared):
    """Every definition of the two folders has its meaning written down."""
    folders = (shared / "data" / "esri_emd_samples", shared / "data" / "esri_cntk_landclass")
    assert {f"{folder.name}/{path.name}" for folder in folders for path in folder.glob("*.emd")} == set(FILES)


@pytest.mark.shared
def test_what_real_files_say_besides(shared):
    """Keys of one kind of model: cell sizes in degrees, object classification, training, thresholds."""
    folder = shared / "data" / "esri_emd_samples"
    sam = read_emd((folder / "TextSAM.emd").read_bytes(), "TextSAM.emd").emd
    assert (sam.MinCellSize.x, sam.MinCellSize.spatialReference.wkid) == (2.146743517369032e-06, 4326)
    assert (sam.MaxCellSize.y, sam.MaxCellSize.spatialReference.latestWkid) == (2.155325191644639e-06, 4326)
    assert (sam.SupportsVariableTileSize, sam.IsMultispectral, sam.ModelFormat) == (True, False, "NCHW")
    assert (sam.InferenceFunction, missing_for_run(sam)) == ("TextSAM.py", ("ModelFile",))
    house = read_emd((folder / "HouseDamageClassifier_ProBuiltin.emd").read_bytes(), "house").emd
    assert (house.CropSizeFixed, house.BlackenAroundFeature, house.ImageSpaceUsed) == (True, True, "MAP_SPACE")
    fire = read_emd((folder / "woolseyFire_600_50.emd").read_bytes(), "fire").emd
    assert (fire.CropSizeFixed, fire.BlackenAroundFeature, fire.resize_to) == (True, False, None)
    assert (fire.ModelParameters.backbone, fire.LearningRate) == ("resnet34", "0.004365158322401656")
    draft = read_emd((folder / "DraftTemplateEMD.emd").read_bytes(), "draft").emd
    assert (draft.Threshold, draft.InferenceFunction) == (0.5, "DraftTemplateObjectDetector.py")
    mask = read_emd((folder / "mask_rcnn.emd").read_bytes(), "mask").emd
    assert mask.ModelConfiguration["Config"] == ".\\mrcnn\\spacenet"
    xview = read_emd((folder / "xview_onnx.emd").read_bytes(), "xview").emd
    assert (xview.Classes[10].Name, xview.Classes[10].Color) == ("Fixed-wing Aircraft", GREEN)


DOCUMENTATION_SAMPLE = r"""{
    "Framework": "TensorFlow",
    "ModelConfiguration": "ObjectDetectionAPI",
    "ModelFile": ".\\palms.pb",
    "ModelType": "ObjectionDetection",
    "ImageHeight": 640,
    "ImageWidth": 640,
    "ExtractBands": [0, 1, 2],
    "ImageSpaceUsed": "MAP_SPACE"
    "Classes": [{"Value": 0, "Name": "Palm", "Color": [0, 200, 0]}],
    "ModelName": "Palms"
    "Version": "2021.03"
}
"""
MANGROVE_LIKE = r"""{
    // exported by our notebook
    "ModelFile": "C:\models\reeds\net_v2.onnx",
    "InferenceFunction": "ReedSegmenter.run",
    "ImageHeight": 256, /* as trained */
    "ImageWidth": 256,
    "ExtractBands": [1, 2, 3,],
    "Classes": [
        {"Value": 0, "Name": "Other"},
        {"Value": 1, "Name": "Reeds"},
    ],
    "Task": "segmentation",
}
"""
TEMPLATE = """{
    "Framework": "e.g. PyTorch",
    "ModelConfiguration": "e.g. UNet",
    "ModelFile": "e.g. net.pth",
    "ModelType": "e.g. ImageClassification",
    "Description": "e.g. what it is for",
    "ImageHeight": "e.g. 256",
    "ImageWidth": 400,
    "ExtractBands": "e.g. [0, 1, 2]",
    "DataRange": "e.g. [0, 1]",
    "ModelPadding": "e.g. 64",
    "BatchSize": "e.g. 8",
    "PerProcessGPUMemoryFraction": "e.g. 0.9",
    "WellKnownBandNames (FYI, all of these may stand in ExtractBands)": ["Red", "Green", "QA"],
    "MetaDataMode": "Export_Tiles",
    "BlackenAroundFeature": false,
    "CropTileMode": "Fixed_Size",
    "MinCellSize": {"x": 0.3, "y": 0.3, "spatialReference": {"wkid": 102100, "latestWkid": 3857}},
    "InputRastersProps": {"RasterCount": 2, "SensorName": "", "BandNames": ["Band_1", "Band_2"]},
    "AllTilesStats": [{"BandName": "Band_1", "Min": 0, "Max": 255, "Mean": 91.5, "StdDev": 30.25}],
    "Classes": [{"Value": 3, "Name": "Roof", "Color": [-1, -1, -1]}]
}
"""
ROADS_LIKE = """{
    "Framework": "arcgis.learn.models._inferencing",
    "ModelConfiguration": "_roads",
    "ModelFile": "roads.pth",
    "ModelType": "ImageClassification",
    "ImageHeight": "512",
    "ImageWidth": 512,
    "ModelParameters": {"backbone": "resnet34", "mean": [0.485, 0.456, 0.406], "opt_func_args": {}},
    "LearningRate": "slice('2.0000e-04', '2.0000e-03', None)",
    "per_class_metrics": "{\\"NoData\\": {\\"f1\\": 0.9}}",
    "resize_to": [512, 512],
    "ArcGISLearnVersion": "1.8.4",
    "Classes": [{"Value": 1, "Name": 1, "Color": [9, 8, 7]}, {"Value": 16, "Name": "Path"}]
}
"""


def said(reading: EmdReading) -> list[str]:
    return [str(repair) for repair in reading.repairs]


def test_sample_of_the_documentation():
    """Missing commas and the misspelt ModelType are repaired and said with their lines."""
    reading = read_emd(DOCUMENTATION_SAMPLE, "palms.emd")
    assert said(reading) == [
        'line 5: ModelType: "ObjectionDetection" was read as "ObjectDetection"',
        "line 9: a comma was missing after ImageSpaceUsed",
        "line 11: a comma was missing after ModelName",
    ]
    emd = reading.emd
    assert (task_of(emd), emd.ModelFile, emd.ModelName, emd.Version) == (
        "ObjectDetection",
        ".\\palms.pb",
        "Palms",
        "2021.03",
    )
    with pytest.raises(ModelError, match=r"line 5: ModelType.*line 9: a comma.*line 11: a comma"):
        read_emd(DOCUMENTATION_SAMPLE, "palms.emd", is_strict=True)


@pytest.mark.parametrize("encode", [str.encode, lambda text: text.replace("\n", "\r\n").encode("utf-8-sig")])
def test_definition_typed_by_hand(encode):
    """Comments, trailing commas, a Windows path, no ModelType and 1-based bands without colours are read."""
    reading = read_emd(encode(MANGROVE_LIKE), "reeds.emd")
    emd = reading.emd
    assert emd.ModelFile == r"C:\models\reeds\net_v2.onnx"
    assert (emd.ExtractBands, emd.Classes[1].Name, emd.Classes[1].Color) == ([1, 2, 3], "Reeds", None)
    assert missing_for_run(emd) == ("ModelType",)
    assert emd.model_extra == {"Task": "segmentation"}
    lines = [repair.line for repair in reading.repairs if "byte-order" not in repair.message]
    assert lines == [2, 3, 5, 7, 10, 12]


def test_export_template():
    """A template is readable for what it holds; to run it, all that is to be filled in is named."""
    reading = read_emd(TEMPLATE, "template.emd", is_strict=True)
    emd = reading.emd
    assert len(reading.placeholders) == 11
    assert (emd.ImageHeight, emd.ImageWidth, emd.BlackenAroundFeature) == (None, 400, False)
    assert (emd.MinCellSize.x, emd.MinCellSize.spatialReference.latestWkid) == (0.3, 3857)
    assert (emd.InputRastersProps.BandNames, emd.AllTilesStats[0].StdDev) == (["Band_1", "Band_2"], 30.25)
    assert well_known_bands(emd) == ("Red", "Green", "QA")
    assert emd.Classes[0].Color == (-1, -1, -1)
    with pytest.raises(ModelError) as caught:
        parse_emd(TEMPLATE, "template.emd")
    for key in reading.placeholders:
        assert key in caught.value.message


def test_definition_of_a_training():
    """Sizes as text and numbers as names are read and said; text that holds JSON or Python stays as it is."""
    reading = read_emd(ROADS_LIKE, "roads.emd")
    emd = reading.emd
    assert said(reading) == [
        'line 6: ImageHeight: "512" was read as 512',
        'line 13: Classes[0].Name: 1 was read as "1"',
    ]
    assert emd.LearningRate == "slice('2.0000e-04', '2.0000e-03', None)"
    assert emd.per_class_metrics == '{"NoData": {"f1": 0.9}}'
    assert (emd.ModelParameters.mean, emd.resize_to) == ([0.485, 0.456, 0.406], (512, 512))
    assert [entry.Value for entry in emd.Classes] == [1, 16]


SEEDS = (DOCUMENTATION_SAMPLE, MANGROVE_LIKE, TEMPLATE, ROADS_LIKE)
INSERTIONS = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"'",
        b",",
        b":",
        b"\\",
        b"\n",
        b"//",
        b"/*",
        b"*/",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
    ),
    *(b"1e400", b"-", b"NaN", b"1" * 5000, b"9" * 400, b"1" * 100_000, b"null", b"true", b"e.g. ", b"C:\\", b"\\ud800"),
    *(b"[" * 500, b'{"a":' * 2000, b'"ImageHeight": 1e999, ', b'"Classes": {"a": []}, ', b'"Threshold": [[]], '),
)


def mutated(chance: random.Random) -> bytes:
    """Return a definition with one to six things done to it."""
    content = bytearray(chance.choice(SEEDS).encode())
    for _ in range(chance.randint(1, 6)):
        start, end = sorted((chance.randrange(len(content) + 1), chance.randrange(len(content) + 1)))
        match chance.randrange(6):
            case 0 if start < len(content):
                content[start] ^= 1 << chance.randrange(8)
            case 1:
                del content[start : min(end, start + 40)]
            case 2:
                del content[end:]
            case 3:
                content[start:start] = content[start:end]
            case 4:
                content[start:start] = chance.choice(INSERTIONS)
            case _:
                content[start : start + 1] = chance.randbytes(1)
    return bytes(content)


def test_mutations():
    """Whatever 2,000 mutations do to a definition, it is read or a GeodlError of one line, within 2 s and 200 MB."""
    chance = random.Random(20)
    slowest, read = 0.0, 0
    tracemalloc.start()
    for _ in range(2000):
        content = mutated(chance)
        started = time.perf_counter()
        try:
            reading = read_emd(content, "m.emd")
            assert parse_emd(write_emd(reading.emd), "m.emd") == reading.emd
            read += 1
        except GeodlError as error:
            assert "\n" not in error.message
        slowest = max(slowest, time.perf_counter() - started)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert slowest < 2
    assert peak < 200e6
    assert read > 100
