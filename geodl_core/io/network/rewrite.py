"""The same network in operators that onnxruntime's CPU provider computes faster.

The decoder of a U-Net enlarges, concatenates and convolves, which was half its time, and its largest tensors:

    Conv(Concat(a, b)) = Conv(a, the weights on a's channels) + Conv(b, the others)

takes away the copy, and the sum costs little, as onnxruntime adds within the second convolution. Where `a` was enlarged
twofold by repeating pixels, its share is convolved before: see `doubling`. Both equal the original up to the rounding
of sums, at the borders too. What is not certainly the same stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper

from geodl_core.io.network.doubling import BLOCK, convolve, doubled, fits
from geodl_core.io.network.draft import Draft

FUSED = ("Clip", "HardSigmoid", "LeakyRelu")
"""Activations that onnxruntime computes within a convolution, but not in one that adds."""
ACTIVATIONS = (*FUSED, "Relu", "Sigmoid", "Tanh")
KEEPING = (
    *("AveragePool", "BatchNormalization", "Dropout", "Elu", "Gelu", "HardSwish", "Identity", "InstanceNormalization"),
    *("LeakyRelu", "MaxPool", "PRelu", "Relu", "Sigmoid", "Softplus", "Tanh", "Clip", "HardSigmoid", "Mish"),
)
"""Operators whose result has their first input's channels."""
ALIGNED = 4
"""Channels; of a multiple, or of less than `BLOCK`, onnxruntime makes an NCHWc convolution."""
DEPTH = 64
"""Operators to look back over for a number of channels."""
EPSILON = 1e-5
"""BatchNormalization's, where none is given."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A Conv node over all channels, its weights in the file, with the BatchNormalization after it."""

    node: NodeProto
    result: str
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32] | None

    @property
    def is_centred(self) -> bool:
        """Steps of 1, a border of 1: what `doubling` takes, given 3 × 3 weights."""
        found = {item.name: helper.get_attribute_value(item) for item in self.node.attribute}
        automatic = found.get("auto_pad", b"NOTSET")
        is_padded = automatic in (b"SAME_UPPER", b"SAME_LOWER")
        if automatic == b"NOTSET":
            is_padded = list(found.get("pads", [])) == [1, 1, 1, 1]
        steps = [*found.get("strides", []), *found.get("dilations", [])]
        return is_padded and set(steps) <= {1}


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the channels that a convolution takes."""

    source: str
    weights: npt.NDArray[np.float32]
    small: str | None
    """What the source shows twofold, where the convolution can be computed on that."""


def rewrite(graph: onnx.GraphProto, opset: int) -> tuple[str, ...]:
    """Bring decoders into a form that onnxruntime computes faster on a CPU, in place.

    Args:
        graph: float32 tensors (N, C, H, W), any sizes; changed only where the result stays the same up to rounding.
        opset: of the graph's operators.

    Returns:
        What was done, an entry a convolution.
    """
    draft = Draft(graph, opset)
    done = []
    for node in graph.node:
        convolution = _read(draft, node) if node.op_type == "Conv" else None
        if convolution is not None and (parts := _parts(draft, convolution)):
            done.append(_replace(draft, convolution, parts))
    draft.finish()
    return tuple(done)


def _read(draft: Draft, node: NodeProto) -> Convolution | None:
    """Return a convolution over all channels with weights in the file, else None."""
    weights = draft.floats(node.input[1])
    group = next((item.i for item in node.attribute if item.name == "group"), 1)
    if weights is None or weights.ndim != 4 or group != 1:
        return None
    bias = None
    if len(node.input) > 2 and node.input[2]:
        bias = draft.floats(node.input[2])
        if bias is None or bias.shape != weights.shape[:1]:
            return None
    convolution = Convolution(node, node.output[0], weights, bias)
    reader = draft.reader(node.output[0])
    if reader is None or reader.op_type != "BatchNormalization":
        return convolution
    return _fold(draft, convolution, reader) or convolution


def _fold(draft: Draft, convolution: Convolution, normalization: NodeProto) -> Convolution | None:
    """Return the convolution with the normalisation after it; onnxruntime folds it only where no sum comes between."""
    attributes = {item.name: helper.get_attribute_value(item) for item in normalization.attribute}
    weights, bias = convolution.weights, convolution.bias
    numbers = [draft.floats(name) for name in normalization.input[1:]]
    found = [
        number.astype(np.float64) for number in numbers if number is not None and number.shape == weights.shape[:1]
    ]
    is_training = bool(attributes.get("training_mode", 0)) or attributes.get("spatial", 1) != 1
    if len(found) != 4 or is_training or any(normalization.output[1:]):
        return None
    scale, shift, mean, variance = found
    factor = scale / np.sqrt(variance + attributes.get("epsilon", EPSILON))
    moved = shift + ((0 if bias is None else bias) - mean) * factor
    folded = weights * factor[:, None, None, None]
    return Convolution(convolution.node, normalization.output[0], folded.astype(np.float32), moved.astype(np.float32))


def _parts(draft: Draft, convolution: Convolution) -> list[Part]:
    """Return what the convolution shall be the sum of; nothing where it is better left alone."""
    source = convolution.node.input[0]
    maker = draft.makers.get(source)
    if maker is None or draft.reader(source) is None:
        return []
    if maker.op_type != "Concat":
        part = _part(draft, convolution, source, convolution.weights)
        return [part] if part.small else []
    axis = next((item.i for item in maker.attribute if item.name == "axis"), 1)
    limits = _limits(draft, maker.input, convolution.weights.shape[1])
    if axis not in (1, -3) or limits is None or len(maker.input) < 2:
        return []
    weights = np.split(convolution.weights, limits, axis=1)
    parts = [_part(draft, convolution, *found) for found in zip(maker.input, weights, strict=True)]
    return parts if _pays(draft, convolution, parts) else []


def _pays(draft: Draft, convolution: Convolution, parts: Sequence[Part]) -> bool:
    """Tell whether the sum costs less than the copy of what goes in; each sum reads the result once more."""
    large = [part.weights.shape[1] for part in parts if part.small is None]
    if len(large) < len(parts):
        return all(channels < BLOCK or channels % ALIGNED == 0 for channels in large)
    reader = draft.reader(convolution.result)
    is_fused = reader is not None and reader.op_type in FUSED
    is_less = (len(large) - 1) * convolution.weights.shape[0] <= sum(large)
    return is_less and not is_fused and all(channels % BLOCK == 0 for channels in large)


def _part(draft: Draft, convolution: Convolution, source: str, weights: npt.NDArray[np.float32]) -> Part:
    small = doubled(draft, source) if convolution.is_centred and fits(weights) else None
    return Part(source, weights, small if draft.reader(source) is not None else None)


def _limits(draft: Draft, names: Sequence[str], total: int) -> list[int] | None:
    """Return where each input's channels begin, the first's left out; None where that is not known."""
    counts = [_channels(draft, name, DEPTH) for name in names]
    if counts.count(None) == 1:
        counts[counts.index(None)] = total - sum(count for count in counts if count)
    known = [count for count in counts if count and count > 0]
    if len(known) != len(names) or sum(known) != total:
        return None
    return [int(limit) for limit in np.cumsum(known)[:-1]]


def _channels(draft: Draft, name: str, depth: int) -> int | None:
    """Return a tensor's channels, from the operators that made it."""
    node = draft.makers.get(name)
    if node is None or not depth:
        return None
    if node.op_type == "Conv":
        weights = draft.floats(node.input[1])
        return None if weights is None else int(weights.shape[0])
    if node.op_type in KEEPING:
        return _channels(draft, node.input[0], depth - 1)
    if node.op_type in ("Resize", "Upsample"):
        small = doubled(draft, name)
        return None if small is None else _channels(draft, small, depth - 1)
    if node.op_type in ("Add", "Mul", "Sum"):
        # One input may be a single channel, spread over the others'.
        counts = (_channels(draft, source, depth // 2) for source in node.input)
        return next((count for count in counts if count and count > 1), None)
    return None


def _replace(draft: Draft, convolution: Convolution, parts: Sequence[Part]) -> str:
    """Replace a convolution by the sum of its parts."""
    small = [part for part in parts if part.small]
    large = [part for part in parts if not part.small]
    bias, result = convolution.bias, convolution.result
    total = ""
    if small:
        sources = [part.small for part in small if part.small]
        source = sources[0] if len(sources) == 1 else draft.add("Concat", sources, axis=1)
        weights = np.concatenate([part.weights for part in small], axis=1)
        reader = None if large else draft.reader(result)
        is_moved = reader is not None and reader.op_type in ACTIVATIONS and len(reader.input) == 1
        activation = reader if is_moved else None
        result = result if activation is None else activation.output[0]
        total = convolve(draft, source, weights, None if large else bias, activation)
        if large:
            draft.declare_equal([total], convolution.weights.shape[0])
            # Changes nothing, but makes onnxruntime lay the channels out as its convolutions add them.
            total = draft.add("AveragePool", [total], kernel_shape=[1, 1])
    terms = [total] if total else []
    geometry = [item for item in convolution.node.attribute if item.name != "group"]
    for part in large:
        share = draft.convolve(part.source, part.weights, bias, geometry)
        bias = None
        if total:
            terms.append(share)
            share = draft.add("Add", [share, total])
        terms.append(share)
        total = share
    if len(terms) > 1:
        draft.declare_equal(terms[:-1], convolution.weights.shape[0])
    draft.replace(convolution.node, result)
    words = [f"{len(parts)} inputs apart"] if len(parts) > 1 else []
    return f"{convolution.node.name or result}: " + ", ".join([*words, *(f"{part.source} small" for part in small)])
