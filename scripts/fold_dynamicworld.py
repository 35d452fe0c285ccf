"""Put Dynamic World's normalisation into its ONNX model, and write the EMD that describes the result.

No key of an EMD can say "logarithm, then a sigmoid between percentiles", so it becomes part of the graph.

Usage: fold_dynamicworld.py FOLDER OUT    FOLDER holds dynamicworld_forward_nchw.onnx and preprocessing.json
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BANDS_OF_L1C = [1, 2, 3, 4, 5, 6, 7, 11, 12]
"""B2, B3, B4, B5, B6, B7, B8, B11, B12 among the 13 bands of a Level-1C stack."""
PADDING = 32
"""Measured for this network: from 24 pixels on a tiled run equals a whole one; 32 keeps tiles at an even origin."""
TILE = 256
COLORS = {
    "water": [65, 155, 223],
    "trees": [57, 125, 73],
    "grass": [136, 176, 83],
    "flooded_vegetation": [122, 135, 198],
    "crops": [228, 150, 53],
    "shrub_and_scrub": [223, 195, 90],
    "built": [196, 40, 27],
    "bare": [165, 155, 143],
    "snow_and_ice": [179, 159, 225],
}
"""The palette under which Dynamic World is published."""


def fold(network: onnx.ModelProto, percentiles: np.ndarray) -> onnx.ModelProto:
    """Return the network with x = sigmoid(5 (log(0.005 x + 1) - low) / width - 1) before it.

    Args:
        network: NCHW, its one input normalised.
        percentiles: (9, 2) low and width of each band.
    """
    graph = network.graph
    (source,) = graph.input
    constants = {
        "gain": np.float32(0.005),
        "one": np.float32(1),
        "low": percentiles[:, 0].astype("float32").reshape(1, -1, 1, 1),
        "width": percentiles[:, 1].astype("float32").reshape(1, -1, 1, 1),
        "five": np.float32(5),
    }
    steps = [
        ("Mul", "gain"),
        ("Add", "one"),
        ("Log", None),
        ("Sub", "low"),
        ("Div", "width"),
        ("Mul", "five"),
        ("Sub", "one"),
        ("Sigmoid", None),
    ]
    nodes = []
    current = "digital_numbers"
    for number, (operator, constant) in enumerate(steps):
        following = source.name if number == len(steps) - 1 else f"normalised_{number}"
        inputs = [current] + ([f"normalise_{constant}"] if constant else [])
        nodes.append(helper.make_node(operator, inputs, [following]))
        current = following
    arrays = [numpy_helper.from_array(np.asarray(array), f"normalise_{name}") for name, array in constants.items()]
    opened = helper.make_tensor_value_info("digital_numbers", TensorProto.FLOAT, ["n", len(percentiles), "h", "w"])
    folded = helper.make_graph(
        [*nodes, *graph.node], graph.name, [opened], list(graph.output), [*graph.initializer, *arrays]
    )
    model = helper.make_model(folded, opset_imports=network.opset_import, ir_version=network.ir_version)
    onnx.checker.check_model(model)
    return model


def main(folder: Path, out: Path) -> None:
    facts = json.loads((folder / "preprocessing.json").read_text())
    network = onnx.load(folder / "dynamicworld_forward_nchw.onnx")
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(fold(network, np.array(facts["norm_percentiles"])), out / "dynamicworld.onnx")
    emd = {
        "Framework": "Onnx",
        "ModelType": "ImageClassification",
        "ModelName": "dynamicworld",
        "ModelFile": "dynamicworld.onnx",
        "Description": "Dynamic World land cover (Google, Apache-2.0) for Sentinel-2 Level-1C, values in 1/10000.",
        "ImageHeight": TILE,
        "ImageWidth": TILE,
        "ExtractBands": BANDS_OF_L1C,
        "Padding": PADDING,
        "SupportsVariableTileSize": True,
        "Classes": [
            {"Value": value, "Name": name.replace("_", " ").capitalize(), "Color": COLORS[name]}
            for value, name in enumerate(facts["classes"])
        ],
    }
    (out / "dynamicworld.emd").write_text(json.dumps(emd, indent=2) + "\n")
    print(out / "dynamicworld.emd")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
