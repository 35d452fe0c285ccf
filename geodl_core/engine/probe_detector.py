"""Run a detector once, so that what its answer holds can be told from its values."""

from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.size_inputs import size_input
from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.model.detector import image_input
from geodl_core.domain.model.scaling import LEARN
from geodl_core.domain.model.tensors import DEFAULT_CHIP_PX, Layout, layout_of, sizes_of
from geodl_core.domain.network.graph import Tensor
from geodl_core.engine.providers import FATAL_ONLY, failures_of, import_runtime
from geodl_core.errors import ModelError
from geodl_core.io.package.package import ModelPackage

SEED = 20260601
BLOB_PX = 24
"""Size of what is in the image: noise that is smooth enough to look like something."""
STANDARDISED = (-2.0, 2.0)
AS_STORED = (0.0, 255.0)


def answer_once(package: ModelPackage) -> dict[str, npt.NDArray[Any]]:
    """Return what a package's network answers to a smooth random image, by the names of its outputs.

    Raises:
        ModelError: onnxruntime refuses the network, or it takes no image of the size that it should.
    """
    emd, graph = package.emd, package.file.graph
    source = image_input(graph)
    layout = layout_of(emd, source)
    size = _size(emd, source, layout)
    image = _image(emd, source, layout, size)
    shape = next(tensor.shape for tensor in graph.inputs if tensor.name == source.name)
    fed = {source.name: image[0] if len(shape) == 3 else image}
    fed |= {tensor.name: size_input(tensor, size) for tensor in graph.inputs if tensor.name != source.name}
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    try:
        content = package.file.proto.SerializeToString()
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        names = [tensor.name for tensor in graph.outputs]
        return dict(zip(names, session.run(names, fed), strict=True))
    except failures_of(runtime) as error:
        first = str(error).strip().split("\n", maxsplit=1)[0]
        raise ModelError(f"onnxruntime cannot run the network on an image of {size[0]} × {size[1]}: {first}") from error


def _size(emd: Emd, source: Tensor, layout: Layout) -> tuple[int, int]:
    sizes = zip(sizes_of(source, layout), (emd.ImageHeight, emd.ImageWidth), strict=True)
    height, width = (fixed or said or DEFAULT_CHIP_PX for fixed, said in sizes)
    return height, width


def _image(emd: Emd, source: Tensor, layout: Layout, size: tuple[int, int]) -> npt.NDArray[Any]:
    """Return an image of plausible values: blobs of colour."""
    channels = source.shape[layout.index("C")] or len(emd.ExtractBands or ()) or 3
    random = np.random.default_rng(SEED)
    coarse = random.random((source.shape[0] or 1, channels, *(-(-side // BLOB_PX) for side in size)))
    blobs = coarse.repeat(BLOB_PX, axis=2).repeat(BLOB_PX, axis=3)[..., : size[0], : size[1]]
    low, high = plausible_range(emd)
    values = (low + blobs * (high - low)).astype(source.dtype)
    return values if layout == "NCHW" else np.ascontiguousarray(values.transpose(0, 2, 3, 1))


def plausible_range(emd: Emd) -> tuple[float, float]:
    """Return a range of the values that the network takes, after whatever scaling the definition asks for."""
    if emd.NormalizationStats is not None or (emd.Framework or "").startswith(LEARN):
        return STANDARDISED
    return emd.DataRange or AS_STORED
