"""Train the two demo models on synthetic scenes and write them as ONNX with their model definitions.

Each network is one function over four operations. Run with torch it trains, with numpy intervals it tells how far
a pixel sees, with ONNX nodes it becomes the graph: nothing is exported that was not written here.
Needs the extra `train` and onnxruntime. A few minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime
import rasterio
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import nn

from make_scene import BANDS, CLASSES, COLORS, make_scene, read_scene

Array = NDArray[Any]

TRAINING = ((101, 732), (102, 732), (103, 732), (104, 732), (105, 366), (106, 366), (107, 366), (108, 1098))
HELD_OUT = (7, 1098)
NOTHING = np.float32(-0.1)
"""A count of 0 after scaling: what the networks see where the sensor did not look."""
IGNORED = 255
CHIP_PX = 192
MAX_MODEL_BYTES = 400_000
WELL_KNOWN = {
    "coastal": "CoastalBlue",
    "blue": "Blue",
    "green": "Green",
    "red": "Red",
    "nir": "NearInfrared",
    "swir16": "ShortWaveInfrared",
}


class Operations(Protocol):
    """What a network is made of. `conv` is followed by a ReLU unless it is the head."""

    def conv(self, name: str, x: Any) -> Any: ...
    def pool(self, x: Any) -> Any: ...
    def up(self, x: Any) -> Any: ...
    def join(self, x: Any, y: Any) -> Any: ...


def landcover(run: Operations, x: Any) -> Any:
    """Run a U-Net of total stride 8."""
    a = run.conv("a2", run.conv("a1", x))
    b = run.conv("b2", run.conv("b1", run.pool(a)))
    c = run.conv("c1", run.pool(b))
    d = run.conv("d1", run.pool(c))
    c = run.conv("c2", run.join(run.up(d), c))
    b = run.conv("b3", run.join(run.up(c), b))
    a = run.conv("a3", run.join(run.up(b), a))
    return run.conv("head", a)


def water(run: Operations, x: Any) -> Any:
    """Run four plain convolutions."""
    for name in ("a1", "a2", "a3", "a4"):
        x = run.conv(name, x)
    return run.conv("head", x)


@dataclass(frozen=True, slots=True)
class Design:
    """One model: its network and what its definition says."""

    name: str
    network: Callable[[Operations, Any], Any]
    channels: dict[str, tuple[int, int]]
    """Input and output channels of each convolution."""
    bands: tuple[str, ...]
    stride: int
    tile_px: int
    classes: tuple[int, ...]
    """The classes of the scene, in the order of the output channels; one class alone is a score."""
    steps: int
    description: str


DESIGNS = (
    Design(
        name="landcover",
        network=landcover,
        channels={
            "a1": (6, 16),
            "a2": (16, 16),
            "b1": (16, 24),
            "b2": (24, 24),
            "c1": (24, 32),
            "d1": (32, 48),
            "c2": (80, 32),
            "b3": (56, 24),
            "a3": (40, 20),
            "head": (20, 5),
        },
        bands=tuple(band.common_name for band in BANDS),
        stride=8,
        tile_px=512,
        classes=tuple(CLASSES),
        steps=420,
        description="Land cover in five classes from six Sentinel-2 bands in reflectance. "
        "Trained on synthetic scenes only: for demonstrations and tests, not for maps of real places.",
    ),
    Design(
        name="water",
        network=water,
        channels={"a1": (2, 8), "a2": (8, 8), "a3": (8, 8), "a4": (8, 8), "head": (8, 1)},
        bands=("green", "nir"),
        stride=1,
        tile_px=256,
        classes=(10,),
        steps=300,
        description="Open water from the green and near infrared bands in reflectance. "
        "Trained on synthetic scenes only: for demonstrations and tests, not for maps of real places.",
    ),
)


# ------------------------------------------------------------------------------------------ three ways to run


@dataclass(frozen=True, slots=True)
class Torch:
    """Runs a network on tensors."""

    layers: nn.ModuleDict

    def conv(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y = self.layers[name](x)
        return y if name == "head" else torch.relu(y)

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool2d(x, 2)

    def up(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(x, scale_factor=2, mode="nearest")

    def join(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, y], dim=1)


@dataclass(frozen=True, slots=True)
class Sight:
    """Runs a network on a line of pixels, (2, n) first and last input pixel that each depends on."""

    def conv(self, name: str, x: Array) -> Array:
        if name == "head":
            return x
        low, high = np.pad(x, ((0, 0), (1, 1)), mode="edge")
        return np.stack([low[:-2], high[2:]])

    def pool(self, x: Array) -> Array:
        return np.stack([x[0, ::2], x[1, 1::2]])

    def up(self, x: Array) -> Array:
        return x.repeat(2, axis=1)

    def join(self, x: Array, y: Array) -> Array:
        return np.stack([np.minimum(x[0], y[0]), np.maximum(x[1], y[1])])


@dataclass(frozen=True, slots=True)
class Graph:
    """Runs a network on names of values and collects ONNX nodes."""

    weights: dict[str, tuple[Array, Array]]
    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def conv(self, name: str, x: str) -> str:
        weight, bias = self.weights[name]
        for suffix, values in (("weight", weight), ("bias", bias)):
            self.constants.append(numpy_helper.from_array(values, f"{name}.{suffix}"))
        side = weight.shape[-1]
        y = self.add("Conv", [x, f"{name}.weight", f"{name}.bias"], kernel_shape=[side] * 2, pads=[side // 2] * 4)
        return y if name == "head" else self.add("Relu", [y])

    def pool(self, x: str) -> str:
        return self.add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])

    def up(self, x: str) -> str:
        if all(constant.name != "twice" for constant in self.constants):
            self.constants.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"))
        options = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
        return self.add("Resize", [x, "", "twice"], **options)

    def join(self, x: str, y: str) -> str:
        return self.add("Concat", [x, y], axis=1)


def radius_of(design: Design) -> int:
    """Return how many pixels away the farthest input is that an output pixel depends on, over all phases."""
    line = np.arange(1024)
    low, high = design.network(Sight(), np.stack([line, line]))
    middle = slice(256, 768)
    return int(max((line - low)[middle].max(), (high - line)[middle].max()))


def padding_of(design: Design) -> int:
    """Return the radius rounded up to a multiple of 8, so that tiles keep the phase of the grid."""
    return -(-radius_of(design) // 8) * 8


# ---------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True, slots=True)
class Sample:
    """A scene within a border of nothing."""

    pixels: Array
    """(C, H, W) float32 reflectance."""
    labels: Array
    """(H, W) uint8 class index, IGNORED where the sensor did not look."""


def load_sample(folder: Path, seed: int, size: int, border_px: int) -> Sample:
    """Make a scene and read it with `border_px` invented pixels round it, and up to a multiple of 8 beyond."""
    make_scene(folder, size, seed)
    pixels, valid = read_scene(folder, tuple(band.common_name for band in BANDS))
    with rasterio.open(folder / "truth.tif") as source:
        truth = source.read(1)
    index = np.full(256, IGNORED, np.uint8)
    index[list(CLASSES)] = np.arange(len(CLASSES))
    labels = np.where(valid, index[truth], IGNORED)
    border = (border_px, border_px + -size % 8)
    pixels = np.pad(pixels, ((0, 0), border, border), constant_values=NOTHING)
    return Sample(pixels, np.pad(labels, (border, border), constant_values=IGNORED))


def draw_chips(rng: np.random.Generator, samples: list[Sample], count: int) -> tuple[Array, Array]:
    """Return a batch of chips at random places, turned, mirrored and slightly brighter or darker."""
    pixels, labels = [], []
    area = np.array([sample.labels.size for sample in samples])
    for index in rng.choice(len(samples), count, p=area / area.sum()):
        sample = samples[index]
        row, col = (rng.integers(side - CHIP_PX + 1) for side in sample.labels.shape)
        window = (slice(row, row + CHIP_PX), slice(col, col + CHIP_PX))
        chip, label = sample.pixels[:, *window], sample.labels[window]
        seen = chip > NOTHING
        light, haze = rng.uniform(0.9, 1.1), rng.normal(0, 0.004)
        chip = np.where(seen, chip * np.float32(light) + np.float32(haze), chip)
        turns = int(rng.integers(4))
        chip, label = np.rot90(chip, turns, (1, 2)), np.rot90(label, turns)
        if rng.random() < 0.5:
            chip, label = chip[:, ::-1], label[::-1]
        pixels.append(chip)
        labels.append(label)
    return np.stack(pixels), np.stack(labels)


def loss_of(design: Design, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean loss over the pixels that have a class."""
    if len(design.classes) > 1:
        return nn.functional.cross_entropy(output, labels.long(), ignore_index=IGNORED)
    known = labels != IGNORED
    wanted = (labels == list(CLASSES).index(design.classes[0])).float()
    return nn.functional.binary_cross_entropy_with_logits(output[:, 0][known], wanted[known])


def train(design: Design, samples: list[Sample], seed: int) -> dict[str, tuple[Array, Array]]:
    """Return the trained weights and biases, batch normalisation folded in."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(mode=True)
    rng = np.random.default_rng(seed)
    layers = nn.ModuleDict()
    for name, (inputs, outputs) in design.channels.items():
        if name == "head":
            layers[name] = nn.Conv2d(inputs, outputs, 1)
        else:
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            layers[name] = nn.Sequential(conv, nn.BatchNorm2d(outputs))
    optimizer = torch.optim.AdamW(layers.parameters(), lr=8e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, design.steps, pct_start=0.15)
    channels = [index for index, band in enumerate(BANDS) if band.common_name in design.bands]
    started = time.perf_counter()
    for step in range(design.steps):
        pixels, labels = draw_chips(rng, samples, 8)
        output = design.network(Torch(layers), torch.from_numpy(pixels[:, channels]))
        loss = loss_of(design, output, torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 60 == 0 or step == design.steps - 1:
            print(f"  step {step}: loss {loss.item():.3f}, {time.perf_counter() - started:.0f} s", flush=True)
    layers.eval()
    return {name: folded(layer) for name, layer in layers.items()}


def folded(layer: nn.Module) -> tuple[Array, Array]:
    """Return weight and bias of a convolution with the normalisation that follows it."""
    if isinstance(layer, nn.Sequential):
        layer = nn.utils.fusion.fuse_conv_bn_eval(layer[0], layer[1])
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


# ----------------------------------------------------------------------------------------------------- writing


def write_model(design: Design, weights: dict[str, tuple[Array, Array]], folder: Path) -> Path:
    """Write the graph and the definition, and return the path of the graph."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = Graph(weights, [], [])
    output = design.network(graph, "reflectance")
    if len(design.classes) == 1:
        output = graph.add("Sigmoid", [output])
    result = "logits" if len(design.classes) > 1 else "score"
    graph.nodes[-1].output[0] = result
    shapes = {"reflectance": len(design.bands), result: len(design.classes)}
    inputs, outputs = (
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", count, "height", "width"])]
        for name, count in shapes.items()
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, design.name, inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="geodl",
    )
    onnx.checker.check_model(model, full_check=True)
    path = folder / f"{design.name}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    definition = json.dumps(define(design), indent=2)
    (folder / f"{design.name}.emd").write_text(definition + "\n", encoding="utf-8")
    return path


def define(design: Design) -> dict[str, Any]:
    """Return the model definition."""
    many = len(design.classes) > 1
    classes = [
        {
            "Value": value if many else 1,
            "Name": CLASSES[value].capitalize(),
            "Color": [int(COLORS[value][at : at + 2], 16) for at in (0, 2, 4)],
        }
        for value in design.classes
    ]
    return {
        "Framework": "Onnx",
        "ModelType": "ImageClassification",
        "ModelName": design.name,
        "ModelFile": f"{design.name}.onnx",
        "Description": design.description,
        "Version": "2024.06",
        "ImageHeight": design.tile_px,
        "ImageWidth": design.tile_px,
        "ExtractBands": [WELL_KNOWN[name] for name in design.bands],
        "DataRange": [0, 1],
        "Padding": padding_of(design),
        "SupportsVariableTileSize": True,
        **({} if many else {"Threshold": 0.5}),
        "Classes": classes,
    }


# ---------------------------------------------------------------------------------------------------- checking


def open_session(path: Path) -> Callable[[Array], Array]:
    """Return a function that runs the model on (C, H, W) reflectance."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"reflectance": pixels[None]})[0][0]


def probe_radius(design: Design, infer: Callable[[Array], Array]) -> int:
    """Return the farthest output pixel that changes when one input pixel does, over all phases of the grid."""
    rng = np.random.default_rng(0)
    size, farthest = 192, 0
    for phase in range(design.stride):
        at = size // 2 + phase
        pixels = rng.uniform(0, 0.5, (len(design.bands), size, size)).astype(np.float32)
        before = infer(pixels)
        pixels[:, at, at] += 5
        changed = np.argwhere((infer(pixels) != before).any(axis=0))
        farthest = max(farthest, int(np.abs(changed - at).max()))
    return farthest


def run_tiled(infer: Callable[[Array], Array], pixels: Array, padding: int, tile_px: int) -> Array:
    """Return the output of the inner pixels, tile by tile, each read with `padding` pixels round it."""
    height, width = (side - 2 * padding for side in pixels.shape[1:])
    rows = []
    for row in range(0, height, tile_px):
        parts = []
        for col in range(0, width, tile_px):
            down, across = min(tile_px, height - row), min(tile_px, width - col)
            tile = pixels[:, row : row + down + 2 * padding, col : col + across + 2 * padding]
            output = infer(np.ascontiguousarray(tile))
            parts.append(output[:, padding : padding + down, padding : padding + across])
        rows.append(np.concatenate(parts, axis=2))
    return np.concatenate(rows, axis=1)


def check(design: Design, path: Path, folder: Path) -> None:
    """Print and assert the quality on the held-out scene, the size, the radius and that tiles leave no seam."""
    infer, padding = open_session(path), padding_of(design)
    sample = load_sample(folder, *HELD_OUT, padding)
    channels = [index for index, band in enumerate(BANDS) if band.common_name in design.bands]
    pixels = np.ascontiguousarray(sample.pixels[channels])
    inner = slice(padding, -padding)
    whole = infer(pixels)[:, inner, inner]
    labels = sample.labels[inner, inner]
    known = labels != IGNORED
    if len(design.classes) > 1:
        found = whole.argmax(axis=0)
        figure, name = float((found == labels)[known].mean()), "overall accuracy"
        for index, label in enumerate(CLASSES.values()):
            print(f"  {label}: IoU {iou(found == index, labels == index, known):.3f}")
    else:
        figure, name = iou(whole[0] >= 0.5, labels == list(CLASSES).index(design.classes[0]), known), "IoU"
    radius, seen = radius_of(design), probe_radius(design, infer)
    gap = float(np.abs(run_tiled(infer, pixels, padding, 128) - whole).max())
    size = path.stat().st_size
    print(f"  {name} {figure:.4f}, radius {radius} px (probed {seen}), padding {padding}, {size} bytes")
    print(f"  largest difference between tiled and whole {gap:.2e}")
    assert figure >= 0.9
    assert seen <= radius <= padding
    assert gap < 1e-4
    assert size <= MAX_MODEL_BYTES


def iou(found: Array, wanted: Array, known: Array) -> float:
    """Return intersection over union among the known pixels."""
    return float((found & wanted & known).sum() / ((found | wanted) & known).sum())


def main() -> None:
    """Train, write and check both models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "models")
    parser.add_argument("--only", choices=[design.name for design in DESIGNS])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        samples = [load_sample(Path(scratch), seed, size, 40) for seed, size in TRAINING]
        for design in DESIGNS:
            if arguments.only in (None, design.name):
                print(design.name)
                weights = train(design, samples, seed=1)
                path = write_model(design, weights, arguments.folder / design.name)
                check(design, path, Path(scratch))


if __name__ == "__main__":
    main()
