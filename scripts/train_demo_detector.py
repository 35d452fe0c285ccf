"""Train the demo detector on synthetic harbours and write it as ONNX with its model definition.

The network is written in the operations of train_demo_models.py, and its head is anchor-free: each cell of 4 pixels
tells where the middle and how large the box of the object is that is centred there, and how likely each class is (Zhou
et al., Objects as Points, 2019; Tian et al., FCOS, 2019). The graph gives (batch, 4 + classes, cells): centre, width
and height in pixels, and scores. Needs the extras `train` and `cpu`. Some ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import nn

from harbour import draw_harbour
from harbour_objects import CLASSES, COLORS, LONGEST_PX
from train_demo_models import MAX_MODEL_BYTES, Graph, Operations, Torch, folded

Array = NDArray[Any]

NAME = "harbour"
CHANNELS = {
    "a1": (3, 8),
    "b1": (8, 24),
    "c1": (24, 24),
    "c2": (24, 24),
    "d1": (24, 32),
    "d2": (32, 32),
    "e1": (32, 32),
    "e2": (32, 32),
    "f1": (32, 32),
    "e3": (64, 32),
    "d3": (64, 20),
    "c3": (44, 24),
    "head": (24, 4 + len(CLASSES)),
}
"""Input and output channels of each convolution."""
STRIDE_PX, TOTAL_STRIDE_PX = 4, 32
TILE_PX, PADDING_PX = 512, 64
MARGIN_PX = 8
"""Within which geodl looks for the centre of an object beyond a tile's core."""
THRESHOLD = 0.4
TRAINING = tuple((seed, 1024) for seed in range(201, 229))
CHIP_PX, BATCH, STEPS = 192, 8, 1600
SHIPS = 190
"""Many at sea, where they lie in all directions."""
DESCRIPTION = (
    "Ships, storage tanks and cars in aerial images of half a metre, from red, green and blue. "
    "Trained on synthetic harbours only: for demonstrations and tests, not for images of real places."
)


def detect(run: Operations, x: Any) -> Any:
    """Run the network: down to a stride of 32 pixels, and up again to 4."""
    x = run.pool(run.conv("b1", run.pool(run.conv("a1", x))))
    c = run.conv("c2", run.conv("c1", x))
    d = run.conv("d2", run.conv("d1", run.pool(c)))
    e = run.conv("e2", run.conv("e1", run.pool(d)))
    f = run.conv("f1", run.pool(e))
    e = run.conv("e3", run.join(run.up(f), e))
    d = run.conv("d3", run.join(run.up(e), d))
    c = run.conv("c3", run.join(run.up(d), c))
    return run.conv("head", c)


# ------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True, slots=True)
class Sample:
    """A harbour."""

    pixels: Array
    """(3, H, W) uint8."""
    boxes: Array
    """(N, 4) xmin, ymin, xmax, ymax."""
    classes: Array
    """(N,) positions in `CLASSES`."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the network should say of a batch; h and w are its cells."""

    heat: torch.Tensor
    """(N, K, h, w) 1 at the middle of an object, less around it."""
    box: torch.Tensor
    """(N, 4, h, w) xmin, ymin, xmax, ymax of the object that counts at a cell."""
    weight: torch.Tensor
    """(N, h, w) how much that box counts; 0 where there is none."""
    is_known: torch.Tensor
    """(N, 1, h, w) 0 where what is left of an object at the border is too little to tell."""


def draw_sample(seed: int, size: int) -> Sample:
    """Draw a harbour."""
    pixels, things = draw_harbour(np.random.default_rng(seed), size, SHIPS)
    boxes = np.array([thing.box for thing in things], np.float32)
    return Sample(pixels, boxes, np.array([list(CLASSES).index(thing.class_id) for thing in things]))


def cut_chip(rng: np.random.Generator, sample: Sample) -> tuple[Array, Array, Array, Array]:
    """Return a chip's pixels in 0 … 1, turned and in other light, with boxes, classes and what shows of each object."""
    size = sample.pixels.shape[1]
    corner = rng.integers(0, size - CHIP_PX, 2)
    if rng.random() < 0.6:
        # Round an object of a class by chance, larger ones more often: there are many more cars than ships.
        there = np.flatnonzero(sample.classes == rng.integers(len(CLASSES)))
        if len(there):
            sides = (sample.boxes[there, 2:] - sample.boxes[there, :2]).max(axis=1)
            box = sample.boxes[rng.choice(there, p=sides / sides.sum())]
            middle = (box[:2] + box[2:]) / 2 - rng.uniform(0.1, 0.9, 2) * CHIP_PX
            corner = np.clip(middle.astype(np.int64), 0, size - CHIP_PX)
    col, row = corner
    chip = sample.pixels[:, row : row + CHIP_PX, col : col + CHIP_PX].astype(np.float32) / 255
    moved = sample.boxes - np.tile(corner, 2).astype(np.float32)
    boxes = moved.clip(0, CHIP_PX)
    shown = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) / np.prod(moved[:, 2:] - moved[:, :2], axis=1)
    boxes, classes, shown = boxes[shown > 0], sample.classes[shown > 0], shown[shown > 0]
    for _ in range(int(rng.integers(4))):
        chip = np.rot90(chip, 1, (1, 2))
        x0, y0, x1, y1 = boxes.T
        boxes = np.stack([y0, CHIP_PX - x1, y1, CHIP_PX - x0], axis=1)
    if rng.random() < 0.5:
        chip = chip[:, ::-1]
        x0, y0, x1, y1 = boxes.T
        boxes = np.stack([x0, CHIP_PX - y1, x1, CHIP_PX - y0], axis=1)
    chip = chip * rng.uniform(0.88, 1.12) + rng.uniform(-0.03, 0.03)
    return np.clip(chip, 0, 1).astype(np.float32), boxes, classes, shown


def target_of(boxes: Array, classes: Array, shown: Array) -> tuple[Array, Array, Array, Array]:
    """Return heat, box, weight and what is known of a chip; see `Target`."""
    side = CHIP_PX // STRIDE_PX
    heat = np.zeros((len(CLASSES), side, side), np.float32)
    box, weight = np.zeros((4, side, side), np.float32), np.zeros((side, side), np.float32)
    known = np.ones((1, side, side), np.float32)
    centres = np.arange(side) + 0.5
    for corners, index, share in zip(boxes / STRIDE_PX, classes, shown, strict=True):
        x, y = (corners[:2] + corners[2:]) / 2
        width, height = np.maximum(0.09 * (corners[2:] - corners[:2]), 0.4)
        near = np.exp(-((centres - x) ** 2) / (2 * width**2)) * np.exp(-((centres - y) ** 2) / (2 * height**2))[:, None]
        if share < 0.4:
            left, top = np.floor(corners[:2]).astype(int)
            right, bottom = np.ceil(corners[2:]).astype(int)
            known[0, top:bottom, left:right] = 0
            continue
        middle = min(int(y), side - 1), min(int(x), side - 1)
        near /= near[middle]
        near = near.clip(0, 1)
        heat[index] = np.maximum(heat[index], near)
        counts = (near > 0.4) & (near > weight)
        weight[counts] = near[counts]
        box[:, counts] = corners[:, None] * STRIDE_PX
    return heat, box, weight, known


def draw_batch(rng: np.random.Generator, samples: list[Sample]) -> tuple[torch.Tensor, Target]:
    """Return chips and what should be said of them."""
    pixels, targets = [], []
    for index in rng.integers(len(samples), size=BATCH):
        chip, *objects = cut_chip(rng, samples[index])
        pixels.append(chip)
        targets.append(target_of(*objects))
    parts = [torch.from_numpy(np.stack(part)) for part in zip(*targets, strict=True)]
    return torch.from_numpy(np.stack(pixels)), Target(*parts)


def boxes_of(head: torch.Tensor) -> torch.Tensor:
    """Return (N, 4, h, w) xmin, ymin, xmax, ymax in pixels of what the head says, as the graph decodes it."""
    rows, cols = (torch.arange(side, dtype=torch.float32) + 0.5 for side in head.shape[2:])
    x, y = head[:, 0] + cols, head[:, 1] + rows[:, None]
    half = head[:, 2:4].exp() / 2
    return STRIDE_PX * torch.stack([x - half[:, 0], y - half[:, 1], x + half[:, 0], y + half[:, 1]], dim=1)


def loss_of(head: torch.Tensor, target: Target) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of the classes (focal, as Zhou et al. have it) and of the boxes (generalised IoU and sides)."""
    logits = head[:, 4:]
    middle = (target.heat >= 1).float()
    score, log_yes, log_no = logits.sigmoid(), nn.functional.logsigmoid(logits), nn.functional.logsigmoid(-logits)
    hits = middle * (1 - score) ** 2 * log_yes
    misses = (1 - middle) * (1 - target.heat) ** 4 * score**2 * log_no * target.is_known
    classes = -(hits.sum() + misses.sum()) / middle.sum().clamp(min=1)
    found, total = boxes_of(head), target.weight.sum().clamp(min=1)
    apart = 1 - overlap_of(found, target.box)
    sizes = (target.box[:, 2:] - target.box[:, :2]).clamp(min=1)
    sides = ((found - target.box).abs() / sizes.repeat(1, 2, 1, 1)).clamp(max=4).mean(dim=1)
    boxes = ((apart + sides) * target.weight).sum() / total
    return classes, boxes


def overlap_of(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the generalised IoU (Rezatofighi et al., 2019) of (N, 4, …) boxes."""
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    first, last = torch.minimum(one[:, :2], other[:, :2]), torch.maximum(one[:, 2:], other[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=1)
    areas = [(box[:, 2:] - box[:, :2]).prod(dim=1) for box in (one, other)]
    joined = (areas[0] + areas[1] - shared).clamp(min=1e-6)
    hull = (last - first).prod(dim=1).clamp(min=1e-6)
    return shared / joined - (hull - joined) / hull


def train(samples: list[Sample], seed: int) -> dict[str, tuple[Array, Array]]:
    """Return the trained weights and biases, batch normalisation folded in."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(mode=True)
    rng = np.random.default_rng(seed)
    layers = nn.ModuleDict()
    for name, (inputs, outputs) in CHANNELS.items():
        if name == "head":
            layers[name] = nn.Conv2d(inputs, outputs, 1)
            nn.init.constant_(layers[name].bias[4:].detach(), -4.0)
            nn.init.constant_(layers[name].bias[2:4].detach(), 1.5)
        else:
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            layers[name] = nn.Sequential(conv, nn.BatchNorm2d(outputs))
    optimizer = torch.optim.AdamW(layers.parameters(), lr=6e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, STEPS, pct_start=0.15)
    started = time.perf_counter()
    for step in range(STEPS):
        pixels, target = draw_batch(rng, samples)
        classes, boxes = loss_of(detect(Torch(layers), pixels), target)
        optimizer.zero_grad()
        (classes + 2 * boxes).backward()
        nn.utils.clip_grad_norm_(layers.parameters(), 10)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == STEPS - 1:
            took = time.perf_counter() - started
            losses = f"loss of classes {classes.item():.3f}, of boxes {boxes.item():.3f}"
            print(f"  step {step}: {losses}, {took:.0f} s", flush=True)
    layers.eval()
    return {name: folded(layer) for name, layer in layers.items()}


# -------------------------------------------------------------------------------------------------------- writing


def decode(graph: Graph, head: str) -> str:
    """Add the nodes that make boxes and scores of the head's maps, whatever their size."""
    constants = {
        "halves": np.array([-0.5], np.float32),
        "cell": np.array([STRIDE_PX], np.float32),
        "parts": np.array([1, 1, 2, len(CLASSES)], np.int64),
        "rows": np.array(2, np.int64),
        "cols": np.array(3, np.int64),
        "flat": np.array([0, 0, -1], np.int64),
    }
    graph.constants.extend(numpy_helper.from_array(values, name) for name, values in constants.items())
    names = ["dx", "dy", "size", "logits"]
    graph.nodes.append(helper.make_node("Split", [head, "parts"], names, name="split", axis=1))
    one = numpy_helper.from_array(np.array([1], np.float32))
    ones = graph.add("ConstantOfShape", [graph.add("Shape", ["dx"])], value=one)
    centres = []
    for shift, axis in (("dx", "cols"), ("dy", "rows")):
        number = graph.add("CumSum", [ones, axis])
        centres.append(graph.add("Add", [graph.add("Add", [shift, number]), "halves"]))
    cells = graph.add("Concat", [*centres, graph.add("Exp", ["size"])], axis=1)
    boxes = graph.add("Mul", [cells, "cell"])
    return graph.add("Reshape", [graph.add("Concat", [boxes, graph.add("Sigmoid", ["logits"])], axis=1), "flat"])


def write_model(weights: dict[str, tuple[Array, Array]], folder: Path) -> Path:
    """Write the graph and the definition, and return the path of the graph."""
    folder.mkdir(parents=True, exist_ok=True)
    graph = Graph(weights, [], [])
    decode(graph, detect(graph, "image"))
    graph.nodes[-1].output[0] = "objects"
    kind, rows = onnx.TensorProto.FLOAT, 4 + len(CLASSES)
    inputs = [helper.make_tensor_value_info("image", kind, ["batch", 3, "height", "width"])]
    outputs = [helper.make_tensor_value_info("objects", kind, ["batch", rows, "cells"])]
    model = helper.make_model(
        helper.make_graph(graph.nodes, NAME, inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="geodl",
    )
    onnx.checker.check_model(model, full_check=True)
    path = folder / f"{NAME}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    assert path.stat().st_size <= MAX_MODEL_BYTES
    assert LONGEST_PX <= 2 * (PADDING_PX - MARGIN_PX)
    (folder / f"{NAME}.emd").write_text(json.dumps(define(), indent=2) + "\n", encoding="utf-8")
    return path


def define() -> dict[str, Any]:
    """Return the model definition."""
    return {
        "Framework": "Onnx",
        "ModelType": "ObjectDetection",
        "ModelName": NAME,
        "ModelFile": f"{NAME}.onnx",
        "Description": DESCRIPTION,
        "Version": "2024.06",
        "ImageHeight": TILE_PX,
        "ImageWidth": TILE_PX,
        "ExtractBands": ["Red", "Green", "Blue"],
        "DataRange": [0, 1],
        "Padding": PADDING_PX,
        "Threshold": THRESHOLD,
        "SupportsVariableTileSize": True,
        "Classes": [{"Value": value, "Name": name, "Color": list(COLORS[value])} for value, name in CLASSES.items()],
    }


def main() -> None:
    """Train and write the detector."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "models")
    arguments = parser.parse_args()
    samples = [draw_sample(*each) for each in TRAINING]
    print(f"{NAME}: {sum(len(sample.classes) for sample in samples):,} objects")
    print(write_model(train(samples, seed=1), arguments.folder / NAME))


if __name__ == "__main__":
    main()
