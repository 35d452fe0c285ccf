"""EMD and MLM: what one says, the other says too, and what it cannot say is named."""

import copy
import json
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pystac
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geodl_core.domain.emd.definition import parse_emd
from geodl_core.domain.mlm.carry import document
from geodl_core.domain.mlm.read import emd_from_mlm, mlm_keys, onnx_asset
from geodl_core.domain.mlm.scaling import read_scaling
from geodl_core.domain.mlm.write import ModelFacts, Signature, describe, mlm_item
from geodl_core.domain.model.model import make_model
from geodl_core.domain.network.graph import Tensor
from geodl_core.domain.result.result import StoredFile
from geodl_core.errors import ModelError
from geodl_core.io.network.graph import load_graph
from networks import CLASSES, conv_network
from schemas import require_valid

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
FACTS = ModelFacts(
    model=StoredFile("./trained.onnx", 10, "1220" + "ab" * 32),
    emd=StoredFile("./model.emd", 5, "1220" + "cd" * 32),
    parameters=77,
)
OWN = {
    "created": "2026-03-01T10:00:00Z",
    "updated": "2026-03-01T10:00:00Z",
    "version": "0123456789ab",
    "deprecated": False,
    "geodl:model": "net",
    "geodl:model_sha256": "0123456789ab" + "0" * 52,
}
NCHW = Signature(Tensor("x", "float32", (None, 3, 256, 256)), (Tensor("y", "float32", (None, 4, 256, 256)),), "NCHW")
NHWC = Signature(Tensor("x", "uint8", (1, None, None, 4)), (Tensor("y", "bool", (1, None, None)),), "NHWC")
DETECTING = Signature(
    Tensor("images", "float32", (1, 3, 64, 64)), (Tensor("b", "float32", (1, 9, 6)), Tensor("n", "object", ())), "NCHW"
)
SIGNATURES = [NCHW, NHWC, DETECTING]
BASE = {"ModelFile": "trained.onnx", "ModelType": "ImageClassification", "Classes": [{"Value": 0, "Name": "a"}]}


def item_of(keys: dict[str, Any], signature: Signature = NCHW, facts: ModelFacts = FACTS) -> dict[str, Any]:
    return describe(parse_emd(json.dumps(keys), "test"), signature, facts, OWN)


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
plain = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9, allow_nan=False) | words
extras = st.dictionaries(
    words | st.just("emd") | st.just("absent"), st.recursive(plain, st.lists, max_leaves=4), max_size=4
)
classes = st.lists(
    st.fixed_dictionaries(
        {"Value": st.integers(-2, 300), "Name": words},
        optional={"Color": st.lists(st.integers(-1, 255), min_size=3, max_size=3)},
    ),
    max_size=4,
    unique_by=lambda entry: entry["Value"],
)
bands = st.lists(st.integers(0, 12), max_size=4) | st.lists(
    st.sampled_from(["Red", "red", "NearInfrared", "Infrared", "ShortWaveInfrared", "B04", "band_2", "QA"]) | words,
    max_size=4,
)
pair = st.lists(st.floats(-100, 100), min_size=2, max_size=2, unique=True).map(sorted)
column = st.lists(st.floats(0.125, 50), min_size=1, max_size=4)
known = st.fixed_dictionaries(
    {"ModelFile": st.sampled_from(["trained.onnx", ".\\x.onnx", "C:\\m\\y.onnx", "sub/z.onnx", "w.model"])},
    optional={
        "ModelType": st.sampled_from(["ImageClassification", "ClassifyPixels", "ObjectDetection", "Pix2PixHD", "New"]),
        "Framework": words,
        "ModelConfiguration": words | st.fixed_dictionaries({"Name": words, "Architecture": words}),
        "ModelName": words,
        "Version": words,
        "Description": words,
        "ImageHeight": st.integers(1, 999),
        "ImageWidth": st.sampled_from([256, 64, 7]),
        "ExtractBands": bands,
        "DataRange": pair | st.just([0, 1]) | st.just([0.0, 1.0]),
        "NormalizationStats": st.fixed_dictionaries(
            dict.fromkeys(("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values"), column)
        ),
        "BatchSize": st.integers(1, 64),
        "ModelPadding": st.integers(0, 64),
        "Threshold": st.floats(0, 1),
        "SupportsVariableTileSize": st.booleans(),
        "ModelFormat": st.sampled_from(["NCHW", "NHWC"]),
        "Classes": classes,
        "resize_to": st.none() | st.integers(1, 512),
    },
)


def strip(keys: dict[str, Any]) -> dict[str, Any]:
    """Leave out texts that the reader would take for a template's placeholders."""
    return {key: value for key, value in keys.items() if not str(value).startswith("e.g. ")}


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(known, extras, st.sampled_from(SIGNATURES))
def test_a_definition_comes_back_from_its_item(
    keys: dict[str, Any], more: dict[str, Any], signature: Signature
) -> None:
    """EMD → MLM → EMD keeps the meaning of every key, also of unknown ones, without the verbatim file."""
    try:
        emd = parse_emd(json.dumps(strip({**more, **keys})), "test")
    except ModelError:  # an unknown key that chance gave the name of a known one
        return
    item = json.loads(json.dumps(describe(emd, signature, FACTS, OWN)))
    reading = emd_from_mlm(item)
    assert document(reading.emd) == document(emd)
    assert reading.emd == emd
    assert reading.warnings == ()


@pytest.mark.shared
@pytest.mark.parametrize("signature", SIGNATURES, ids=["NCHW", "NHWC", "detections"])
def test_real_definitions_come_back(shared: Path, signature: Signature) -> None:
    """Every real EMD comes back from its Item: exactly with its file, equal in meaning without; the Item is valid."""
    paths = sorted((shared / "data" / "esri_emd_samples").glob("*.emd"))
    for path in [*paths, shared / "data" / "esri_cntk_landclass" / "trained.emd"]:
        emd = parse_emd(path.read_bytes(), path.name)
        item = describe(emd, signature, FACTS, OWN)
        reading = emd_from_mlm(item)
        assert (document(reading.emd), reading.warnings) == (document(emd), ()), path.name
        assert emd_from_mlm(item, path.read_bytes()).emd == emd
        assert set(item["stac_extensions"]) <= set(require_valid(item, shared))
        assert pystac.Item.from_dict(copy.deepcopy(item)).id == item["id"]


@pytest.mark.shared
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(known, st.sampled_from(SIGNATURES))
def test_items_are_valid(shared: Path, keys: dict[str, Any], signature: Signature) -> None:
    """The Item of any definition is valid STAC 1.1 with every extension that it names."""
    item = item_of(strip(keys), signature)
    assert set(item["stac_extensions"]) <= set(require_valid(item, shared))


def test_an_item_in_full() -> None:
    """Each key of a definition stands where B.3 of the facts puts it."""
    keys = {
        **BASE,
        "Framework": "PyTorch",
        "ModelName": "Wälder & Wiesen",
        "Version": "2024.05",
        "Description": "Of the Alps.",
        "ModelConfiguration": {"Name": "DeepLab", "Config": "x"},
        "ImageHeight": 256,
        "ImageWidth": 256,
        "ExtractBands": ["Red", "NearInfrared", "QA"],
        "DataRange": [0, 1],
        "BatchSize": 4,
        "Padding": 32,
        "MinCellSize": {"x": 10.0, "y": 10.0, "spatialReference": {"wkid": 32633, "latestWkid": 32633}},
        "Classes": [{"Value": 3, "Name": "Wald / Forest", "Color": [1, 2, 255]}, {"Value": 5, "Name": "Wiese"}],
        "Odd key!": 7,
    }
    item = item_of(keys)
    properties = item["properties"]
    assert (item["id"], item["collection"], item["bbox"]) == ("net-0123456789ab", "models", [-180, -90, 180, 90])
    assert (properties["datetime"], properties["start_datetime"][:4], properties["end_datetime"][:4]) == (
        None,
        "1900",
        "9999",
    )
    assert properties["mlm:name"] == "net"
    assert properties["title"] == "Wälder & Wiesen"
    assert properties["mlm:architecture"] == "DeepLab"
    assert (properties["mlm:tasks"], properties["mlm:framework"]) == (["semantic-segmentation"], "ONNX")
    assert (properties["mlm:batch_size_suggestion"], properties["mlm:total_parameters"]) == (4, 77)
    assert (properties["version"], properties["deprecated"], properties["gsd"]) == ("0123456789ab", False, 10.0)
    (source,) = properties["mlm:input"]
    assert source["bands"] == ["red", "nir", "QA"]
    assert properties["bands"][1] == {"name": "nir", "eo:common_name": "nir"}
    assert source["input"] == {
        "shape": [-1, 3, 256, 256],
        "dim_order": ["batch", "bands", "height", "width"],
        "data_type": "float32",
    }
    assert source["value_scaling"] == [{"type": "min-max", "minimum": 0, "maximum": 1}]
    (result,) = properties["mlm:output"]
    assert result["classification:classes"] == [
        {"value": 3, "name": "wald-forest", "description": "Wald / Forest", "color_hint": "0102FF"},
        {"value": 5, "name": "wiese", "description": "Wiese"},
    ]
    carried = properties["mlm:hyperparameters"]
    assert (carried["emd.Framework"], carried["emd.Version"], carried["emd.Padding"]) == ("PyTorch", "2024.05", 32)
    assert carried["emd"]["other"] == {"Odd key!": 7}
    assert item["assets"]["model"]["mlm:artifact_type"] == "onnx"
    assert item["assets"]["model"]["roles"] == ["mlm:model", "mlm:weights"]
    assert item["assets"]["emd"]["file:checksum"] == "1220" + "cd" * 32


def test_an_item_from_a_model(tmp_path: Path) -> None:
    """The content hash names the Item, the graph gives its tensors, and time stamps are UTC."""
    graph = load_graph(conv_network(tmp_path / "net.onnx").read_bytes(), "net").graph
    emd = parse_emd(json.dumps({**BASE, "Classes": CLASSES}), "test")
    model = make_model(emd, graph, "my net")
    item = mlm_item(emd, model, graph, FACTS, NOW)
    assert item["id"] == f"my-net-{model.digest[:12]}"
    assert item["properties"]["geodl:model_sha256"] == model.digest
    assert item["properties"]["created"] == "2026-03-01T10:00:00.000000Z"
    assert item["properties"]["mlm:input"][0]["input"]["shape"] == [-1, 2, -1, -1]
    assert item["properties"]["mlm:input"][0]["bands"] == ["band_1", "band_2"]
    assert [entry["name"] for entry in item["properties"]["mlm:output"]] == ["y"]


def test_a_preprocessing_network() -> None:
    """PreprocessingModel becomes a pre-processing function of format onnx with an asset, and comes back."""
    facts = ModelFacts(FACTS.model, FACTS.emd, StoredFile("./log.onnx", 3, "1220" + "ef" * 32))
    item = item_of({**BASE, "PreprocessingModel": "log.onnx"}, facts=facts)
    function = item["properties"]["mlm:input"][0]["pre_processing_function"]
    assert (function["format"], function["expression"]["href"]) == ("onnx", "./log.onnx")
    assert item["assets"]["preprocessing"]["file:size"] == 3
    assert mlm_keys(item)[0]["PreprocessingModel"] == "log.onnx"
    assert "emd.PreprocessingModel" not in item["properties"]["mlm:hyperparameters"]


@pytest.mark.parametrize("name", ["5", "x", "_", "a_", "-", "ab", "été", "net 1.0", "a" * 300])
def test_names_are_what_mlm_takes(name: str) -> None:
    """mlm:name begins with a letter, ends with a letter or digit and has three characters, whatever the model's is."""
    item = describe(
        parse_emd(json.dumps({**BASE, "ModelName": name}), "test"), NCHW, FACTS, OWN | {"geodl:model": "9_"}
    )
    assert pystac_name(item["properties"]["mlm:name"])
    assert emd_from_mlm(item).emd.ModelName == name


def pystac_name(name: str) -> bool:
    return name[0].isalpha() and name[0].isascii() and name[-1].isalnum() and len(name) > 2


def foreign(**source: Any) -> dict[str, Any]:
    """An Item as others write it: an ONNX asset, no EMD."""
    return {
        "type": "Feature",
        "id": "foreign",
        "properties": {
            "version": "1.2",
            "mlm:name": "Water",
            "mlm:architecture": "U-Net",
            "mlm:tasks": ["semantic-segmentation"],
            "mlm:input": [
                {
                    "name": "in",
                    "bands": ["B04", "B03"],
                    "input": {"shape": [-1, 64, 32, 2], "dim_order": ["batch", "height", "width", "bands"]},
                    **source,
                }
            ],
            "mlm:output": [
                {"name": "scores", "tasks": ["semantic-segmentation"]},
                {
                    "name": "classes",
                    "classification:classes": [
                        {"value": 1, "name": "water", "title": "Open water", "color_hint": "0000ff"},
                        {"value": 0, "name": "land"},
                    ],
                },
            ],
            "mlm:hyperparameters": {"learning_rate": 0.1},
        },
        "assets": {
            "thumb": {"href": "https://example.com/a.png"},
            "weights": {"href": "https://example.com/a/net%201.onnx?sig=1", "roles": ["mlm:model"]},
        },
    }


def test_a_foreign_item() -> None:
    """An Item with an ONNX asset and no EMD is a definition: bands, sizes by dim_order, classes of any output."""
    reading = emd_from_mlm(foreign())
    assert document(reading.emd) == {
        "ModelName": "Water",
        "Version": "1.2",
        "ModelConfiguration": "U-Net",
        "ModelFile": "net 1.onnx",
        "ModelType": "ImageClassification",
        "ImageHeight": 64,
        "ImageWidth": 32,
        "ModelFormat": "NHWC",
        "ExtractBands": ["B04", "B03"],
        "Classes": [
            {"Value": 1, "Name": "Open water", "Color": [0, 0, 255]},
            {"Value": 0, "Name": "land"},
        ],
        "Hyperparameters": {"learning_rate": 0.1},
    }
    assert reading.warnings == ()


def test_common_names_become_esris() -> None:
    """Bands with a common name are called as ArcGIS calls them, unless two would be called the same."""
    item = foreign(bands=["B04", {"name": "B08"}, "B05", "B06"])
    item["properties"]["bands"] = [{"name": "B04", "eo:common_name": "red"}, {"name": "B08", "eo:common_name": "nir"}]
    item["assets"]["weights"]["eo:bands"] = [
        {"name": "B05", "common_name": "rededge"},
        {"name": "B06", "common_name": "rededge"},
    ]
    assert mlm_keys(item)[0]["ExtractBands"] == ["Red", "NearInfrared", "B05", "B06"]
    assert mlm_keys(foreign(bands=["band_3", "band_1"]))[0]["ExtractBands"] == [2, 0]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"value_scaling": [{"type": "clip", "minimum": 0, "maximum": 1}]}, "clip is left out of band 1, 2"),
        ({"value_scaling": [{"type": "z-score", "mean": 1, "stddev": 0}, None]}, "z-score is left out of band 1"),
        ({"value_scaling": [{"type": "offset", "value": 1}] * 3}, "expected one for each band, found 3 for 2"),
        ({"value_scaling": [{"type": "processing", "format": "x", "expression": "y"}]}, "processing is left out"),
        ({"resize_type": "crop"}, "resize_type 'crop'"),
        ({"variables": ["t2m"]}, "variables"),
        ({"bands": ["B04", {"name": "ndvi", "format": "x", "expression": "a-b"}]}, "ndvi"),
        ({"pre_processing_function": {"format": "python", "expression": "a:b"}}, "pre_processing_function"),
    ],
)
def test_what_is_left_out_is_named(source: dict[str, Any], said: str) -> None:
    """What a definition cannot say is named in one warning."""
    _, warnings = mlm_keys(foreign(**source))
    assert len(warnings) == 1
    assert said in warnings[0]


def test_more_that_is_left_out() -> None:
    """Other inputs, other tasks, functions after the network, further classes and odd classes are named."""
    item = foreign()
    properties = item["properties"]
    properties["mlm:input"].append({"name": "dem"})
    properties["mlm:tasks"] = ["classification", "semantic-segmentation", "regression"]
    properties["mlm:output"][0]["post_processing_function"] = {"format": "python", "expression": "a:b"}
    properties["mlm:output"].append({"name": "more", "classification:classes": [{"value": 1, "name": "x"}]})
    properties["mlm:output"][1]["classification:classes"].append({"value": "high", "name": "y"})
    keys, warnings = mlm_keys(item)
    assert keys["ModelType"] == "ImageClassification"
    assert [any(word in warning for warning in warnings) for word in ("dem", "regression", "a:b", "more", "high")] == [
        True
    ] * 5


def scaled(keys: dict[str, Any], band: int, value: float) -> float:
    """What the engine makes of a pixel value (min-max, then standardise)."""
    stats = keys["NormalizationStats"]
    low, high = stats["band_min_values"][band], stats["band_max_values"][band]
    return ((value - low) / (high - low) - stats["scaled_mean_values"][band]) / stats["scaled_std_values"][band]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([{"type": "min-max", "minimum": 100, "maximum": 300}], [0.5, 0.5]),
        ([{"type": "z-score", "mean": 0, "stddev": 3000}], [200 / 3000] * 2),
        ([{"type": "z-score", "mean": 100, "stddev": 50}, {"type": "scale", "value": 10}], [2, 20]),
        ([{"type": "offset", "value": 50}, {"type": None}], [150, 200]),
        ([{"type": "min-max", "minimum": 0, "maximum": 400}, None], [0.5, 200]),
    ],
)
def test_scalings_are_the_same_arithmetic(entries: list[Any], expected: list[float]) -> None:
    """Min-max, z-score, offset and scale become NormalizationStats that give the same numbers."""
    warnings: list[str] = []
    keys = read_scaling(entries, 2, warnings)
    assert [scaled(keys, band, 200.0) for band in (0, 1)] == pytest.approx(expected)
    assert warnings == []


def test_statistics_are_written_as_the_same_arithmetic() -> None:
    """NormalizationStats are written as one z-score a band that gives the same numbers."""
    stats = {
        "band_min_values": [0, 100],
        "band_max_values": [10, 300],
        "scaled_mean_values": [0.5, 0.25],
        "scaled_std_values": [0.2, 0.1],
    }
    item = item_of({**BASE, "ExtractBands": [0, 1], "NormalizationStats": stats})
    for band, entry in enumerate(item["properties"]["mlm:input"][0]["value_scaling"]):
        assert entry["type"] == "z-score"
        keys = {"NormalizationStats": stats}
        assert (77 - entry["mean"]) / entry["stddev"] == pytest.approx(scaled(keys, band, 77))


@pytest.mark.shared
def test_a_pytorch_item(shared: Path) -> None:
    """The example Item of MLM has no ONNX asset, and says so; its bands, classes and scaling are read."""
    item = json.loads((shared / "fixtures" / "stac" / "mlm_item_pytorch_geo_unet.json").read_text())
    with pytest.raises(ModelError, match=r"expected a model asset in ONNX, found model \(torch.save\)"):
        emd_from_mlm(item)
    keys, warnings = mlm_keys(item)
    assert keys["ExtractBands"] == ["B4", "B3", "B2", "B8"] * 2
    assert keys["NormalizationStats"]["scaled_std_values"] == [3000.0] * 8
    assert keys["Classes"] == [{"Value": n, "Name": f"Auto-generated class {n}"} for n in (0, 1)]
    assert (keys["ModelType"], warnings) == ("ImageClassification", ())


def test_an_href_that_is_none() -> None:
    """Hrefs that no address parser takes are names of files."""
    assert mlm_keys({"assets": {"net": {"href": "http://[x/a.onnx"}}})[0]["ModelFile"] == "a.onnx"


@pytest.mark.parametrize(
    "asset",
    [
        {"href": "a.onnx"},
        {"href": "a", "roles": ["mlm:model"], "mlm:artifact_type": "onnx"},
        {"href": "a", "roles": ["mlm:model"], "type": "application/octet-stream; framework=ONNX"},
    ],
)
def test_which_asset_is_onnx(asset: dict[str, Any]) -> None:
    """ONNX is known by artifact type, media type or name; other model assets are passed over."""
    other = {"href": "a.pt", "roles": ["mlm:model"], "mlm:artifact_type": "torch.save"}
    assert onnx_asset({"assets": {"torch": other, "net": asset}}) == "net"


junk = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=5
)


@settings(max_examples=300)
@given(st.data())
def test_items_of_any_shape(data: st.DataObject) -> None:
    """An Item whose values are anything at all is read or refused, never a crash."""
    item = data.draw(st.sampled_from([foreign(value_scaling=[{"type": "clip"}]), item_of({**BASE, "Odd!": 1})]))
    item = copy.deepcopy(item)
    for _ in range(data.draw(st.integers(1, 3))):
        holder: Any = item
        while True:
            key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
            inner = holder[key]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
                holder[key] = data.draw(junk)
                break
            holder = inner
    with suppress(ModelError):
        emd_from_mlm(item)
