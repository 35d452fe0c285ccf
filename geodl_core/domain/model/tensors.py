"""What a graph's tensors mean for pixel classification: which is the image, in which layout, and what comes out."""

from typing import Literal

from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.network.graph import Graph, Tensor
from geodl_core.errors import ModelError

DEFAULT_CHIP_PX = 512

Layout = Literal["NCHW", "NHWC"]
Output = Literal["scores", "mask", "class map", "objects"]


def image_tensors(graph: Graph) -> tuple[Tensor, Tensor]:
    """Return the image input and the output that classifies it: the first of three or four dimensions.

    Raises:
        ModelError: another number of inputs, or no such output.
    """
    images = [tensor for tensor in graph.inputs if len(tensor.shape) == 4]
    if len(images) != 1 or len(graph.inputs) != 1:
        found = "; ".join(map(str, graph.inputs)) or "none"
        raise ModelError(f"the ONNX graph: expected one input of four dimensions, found {found}")
    result = next((tensor for tensor in graph.outputs if len(tensor.shape) in (3, 4)), None)
    if result is None:
        found = "; ".join(map(str, graph.outputs)) or "none"
        raise ModelError(f"the ONNX graph: expected an output of three or four dimensions, found {found}")
    return images[0], result


def layout_of(emd: Emd, source: Tensor) -> Layout:
    """Return the layout in which the channel count fits; NCHW where both or none do."""
    if emd.ModelFormat:
        return emd.ModelFormat
    bands_wanted = len(emd.ExtractBands) if emd.ExtractBands else None
    first, last = source.shape[1], source.shape[3]
    if bands_wanted is not None and last == bands_wanted and first != bands_wanted:
        return "NHWC"
    if bands_wanted is None and first is None and last is not None:
        return "NHWC"
    return "NCHW"


def bands_of(emd: Emd, channels: int | None, source: Tensor) -> tuple[int | str, ...]:
    """Return the wanted bands in channel order, 0-based numbers or names.

    Raises:
        ModelError: the definition names another number of bands than the network takes, or nothing says how many.
    """
    if emd.ExtractBands:
        if channels is not None and channels != len(emd.ExtractBands):
            raise ModelError(
                f"ExtractBands names {len(emd.ExtractBands)} bands {emd.ExtractBands}, "
                f"but the ONNX input {source} takes {channels} channels",
                hint="make ExtractBands list as many bands as the network takes, in its order",
            )
        return tuple(emd.ExtractBands)
    if channels is None:
        raise ModelError(f"the key ExtractBands is missing and the ONNX input {source} leaves its channels open")
    return tuple(range(channels))


def sizes_of(tensor: Tensor, layout: Layout) -> tuple[int | None, int | None]:
    """Return height and width of a tensor; one of three dimensions is (N, H, W)."""
    if len(tensor.shape) == 3:
        return tensor.shape[1], tensor.shape[2]
    return tensor.shape[layout.index("H")], tensor.shape[layout.index("W")]


def chip_of(emd: Emd, source: Tensor, layout: Layout, notes: list[str]) -> tuple[int, int]:
    """Return the height and width of a tile as the definition or the graph gives them.

    Raises:
        ModelError: the two differ.
    """
    chip: list[int] = []
    for key, said, fixed in zip(
        ("ImageHeight", "ImageWidth"), (emd.ImageHeight, emd.ImageWidth), sizes_of(source, layout), strict=True
    ):
        if said is not None and fixed is not None and said != fixed:
            raise ModelError(f"{key} is {said}, but the ONNX input {source} takes only {fixed}")
        if said is None and fixed is None:
            notes.append(f"{key} is missing and the graph takes any size: {DEFAULT_CHIP_PX} pixels are used")
        chip.append(said or fixed or DEFAULT_CHIP_PX)
    return chip[0], chip[1]


def output_of(result: Tensor) -> Output:
    """Return what the output holds: integers are a class map, one channel is a mask, else there are class scores."""
    if result.dtype.startswith(("int", "uint")):
        return "class map"
    if len(result.shape) == 3 or 1 in (result.shape[1], result.shape[3]):
        return "mask"
    return "scores"


def class_count(result: Tensor, layout: Layout, output: Output) -> int | None:
    """Return how many classes the output tells apart, None where that is open."""
    if output == "scores":
        return result.shape[layout.index("C")]
    return 2 if output == "mask" else None
