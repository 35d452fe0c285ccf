"""Cards of real models: what `geodl model inspect` says of every network of the test data."""

import json

import pytest

from commands import geodl

pytestmark = pytest.mark.shared

EXPECTED = {
    "cntk_mnist/mnist.onnx": ("scene", None, "5,994"),
    "deepness_fixtures/different_output_size_512_to_484.onnx": ("scores", "14 pixels, stride 1", "5,048"),
    "deepness_fixtures/dummy_model.onnx": ("scores", "0 pixels", "0 "),
    "deepness_fixtures/one_output_softmax_bsx2x512x512.onnx": ("scores", "0 pixels", "8 "),
    "deepness_fixtures/two_outputs_sigmoid_bsx1x512x512.onnx": ("mask", "0 pixels", "4 "),
    "dior_yolov5n/yolov5n-diorall-nchw.onnx": ("detections", None, "1,812,495"),
    "dior_yolov5n/yolov5n-diorall-nhwc.onnx": ("detections", None, "1,812,495"),
    "dynamicworld/dynamicworld_forward.onnx": ("scores", "22 pixels, stride 2", "219,818"),
    "dynamicworld/dynamicworld_forward_nchw.onnx": ("scores", "22 pixels, stride 2", "219,818"),
    "esri_cntk_landclass/trained.onnx": ("scores", "the whole tile", "316,358"),
    "ultraface_ssd/version-RFB-320.onnx": ("detections", None, "307,620"),
    "ultraface_ssd/version-slim-320_without_postprocessing.onnx": ("detections", None, "264,732"),
    "yolox_nano/yolox_nano.onnx": ("detections", None, "904,463"),
}
"""File → what it gives, how far an answer reaches (None: not of a raster), its parameters."""


def test_every_network_is_expected(shared):
    """No ONNX file of the test data is left out."""
    found = {str(path.relative_to(shared / "data")) for path in (shared / "data").rglob("*.onnx")}
    assert found == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_card(shared, name):
    """The card tells kind of answer, layout, reach, parameters and arithmetic."""
    gives, reach, parameters = EXPECTED[name]
    result = geodl("model", "inspect", shared / "data" / name, "--json")
    assert result.returncode == 0, result.stderr
    card = json.loads(result.stdout)
    assert card["gives"].startswith(gives)
    assert card["weights"].startswith(parameters)
    assert "GFLOP" in card["cost"]
    assert card["layout"].startswith("NHWC" if "nhwc" in name or name.endswith("dynamicworld_forward.onnx") else "NCHW")
    if reach is None:
        assert "reach" not in card
    else:
        assert card["reach"].startswith(reach)
