"""Write the EMD of Dynamic World, and the ONNX graph of its normalisation, beside its network.

No key of an EMD can say "logarithm, then a sigmoid between percentiles", so it is a graph that `PreprocessingModel`
names; the network itself stays as it is.

Usage: dynamicworld_emd.py FOLDER OUT    FOLDER holds dynamicworld_forward_nchw.onnx and preprocessing.json
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 13
BANDS_OF_L1C = [1, 2, 3, 4, 5, 6, 7, 11, 12]
"""B2, B3, B4, B5, B6, B7, B8, B11, B12 among the 13 bands of a Level-1C stack."""
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


def normalisation(percentiles: np.ndarray) -> onnx.ModelProto:
    """Return the graph x → sigmoid(5 (log(0.005 x + 1) - low) / width - 1).

    Args:
        percentiles: (C, 2) low and width of each band.
    """
    channels = len(percentiles)
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
    names = ["digital_numbers", *(f"step_{number}" for number in range(1, len(steps))), "normalised"]
    nodes = [
        helper.make_node(operator, [before] + ([constant] if constant else []), [after])
        for (operator, constant), before, after in zip(steps, names[:-1], names[1:], strict=True)
    ]
    raster = ["n", channels, "h", "w"]
    graph = helper.make_graph(
        nodes,
        "normalisation",
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, raster)],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, raster)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main(folder: Path, out: Path) -> None:
    facts = json.loads((folder / "preprocessing.json").read_text())
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "dynamicworld_forward_nchw.onnx", out / "dynamicworld.onnx")
    onnx.save(normalisation(np.array(facts["norm_percentiles"])), out / "normalisation.onnx")
    emd = {
        "Framework": "Onnx",
        "ModelType": "ImageClassification",
        "ModelName": "dynamicworld",
        "ModelFile": "dynamicworld.onnx",
        "PreprocessingModel": "normalisation.onnx",
        "Description": "Dynamic World land cover (Google, Apache-2.0) for Sentinel-2 Level-1C, values in 1/10000.",
        "ImageHeight": TILE,
        "ImageWidth": TILE,
        "ExtractBands": BANDS_OF_L1C,
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
