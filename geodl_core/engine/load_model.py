"""Load a model: join its package with what its graph tells of how far an answer reaches."""

from dataclasses import replace
from math import lcm
from typing import Any

import numpy.typing as npt

from geodl_core.domain.emd.definition import Emd
from geodl_core.domain.model.agreement import is_mistaken, with_fitting_type
from geodl_core.domain.model.detector import finds_objects, make_detector
from geodl_core.domain.model.model import Model, make_model, require_pixel_model
from geodl_core.domain.model.object_classifier import classifies_objects
from geodl_core.domain.model.probed import Probed
from geodl_core.domain.model.tensors import Layout, image_tensors, layout_of
from geodl_core.domain.network.graph import Graph
from geodl_core.domain.network.reach import Reach, is_unknown, join_reaches
from geodl_core.errors import ModelError
from geodl_core.io.network.graph import GraphFile
from geodl_core.io.network.memory import ARENA_FACTOR, peak_bytes_per_px
from geodl_core.io.network.reach import answer_step, walk_reach
from geodl_core.io.package.package import ModelPackage

# Modules that run networks are imported where one is run: a model whose answers are known is loaded without them.

REPAIRED = "definition: "
"""How notes on repairs begin."""
PROBE_SEED = 20260101
PROBE_BUDGET_S = 120.0
"""More than any probe was seen to need: a bound that a slow machine reached would make its halo another."""
SCORE_BYTES = 4
"""float32, one a class and pixel, brought to the input's pixels after the network."""
CLASS_INDEX_BYTES = 8
"""ONNX's ArgMax gives int64."""
USUAL_RANGE = (0.0, 1.0)
"""Of values that a network takes, where its definition says nothing."""


def load_model(package: ModelPackage, is_probed: bool | None = None) -> Model:
    """Return the model of a package.

    Args:
        package: definition and graphs.
        is_probed: whether the network is run to find how far an answer reaches. None: only where its graph cannot be
            followed and the definition names no padding, so that a run costs nothing more than it must; and not where
            the package holds what it told before.

    Raises:
        ModelError: the definition and the graph disagree, or it is another kind of model; says which ModelType fits.
    """
    repairs = tuple(f"{REPAIRED}{repair}" for repair in package.repairs)
    try:
        model = _detector(package) if finds_objects(package.emd) else _pixel_model(package, is_probed)
    except ModelError as error:
        raise with_fitting_type(error, package.emd, package.file.graph) from error
    return replace(model, notes=(*repairs, *model.notes))


def probe_package(package: ModelPackage) -> Probed | None:
    """Run a package's network for all that `load_model` would run it for, None where it would not.

    Raises:
        ModelError: onnxruntime refuses the network, or it does not serve.
    """
    package = replace(package, probed=None)
    if classifies_objects(package.emd):
        return None
    if finds_objects(package.emd):
        detector = load_model(package).detector
        return None if detector is None else Probed(decoder=detector.decoder)
    source, _ = image_tensors(package.file.graph)
    layout = layout_of(package.emd, source)
    if not _is_open(package.emd, walk_reach(package.file.proto, source.name, layout)):
        return None
    return Probed(reach=probe_of(package.file, package.emd, layout))


def _detector(package: ModelPackage) -> Model:
    told = (package.probed and package.probed.decoder) or _answer_once(package)
    model = make_detector(package.emd, package.file.graph, package.name, told, _before(package))
    peak = peak_bytes_per_px(package.file.proto, model.chip_px, model.layout)
    return replace(model, bytes_per_px=peak and ARENA_FACTOR * peak)


def _answer_once(package: ModelPackage) -> dict[str, npt.NDArray[Any]]:
    from geodl_core.engine.probe_detector import answer_once  # noqa: PLC0415  # see above

    return answer_once(package)


def _pixel_model(package: ModelPackage, is_probed: bool | None) -> Model:
    emd, graph = package.emd, package.file.graph
    if emd.ModelType is not None:
        require_pixel_model(emd)
    if is_mistaken(emd, graph):
        # What is wrong is said before the network is run to find its reach.
        make_model(emd, graph, package.name, None, _before(package))
    model = make_model(emd, graph, package.name, reach_of(package, is_probed), _before(package))
    return replace(model, bytes_per_px=bytes_per_px(package.file, model))


def _before(package: ModelPackage) -> Graph | None:
    """Return the graph that is run before the network."""
    return None if package.preprocessing is None else package.preprocessing.graph


def bytes_per_px(file: GraphFile, model: Model) -> float | None:
    """Return the memory that a run takes for each pixel of its tile, None where the graph does not tell.

    Args:
        file: the model's graph.
        model: what its tensors mean.
    """
    # Where the size is free, one that halves evenly as often as the network halves it.
    step = 1 if model.is_size_fixed else model.halo.stride_px
    rows, cols = (-(-side // step) * step for side in model.chip_px)
    live = peak_bytes_per_px(file.proto, (rows, cols), model.layout)
    if live is None:
        return None
    coarse = model.halo.coarsening**-2 if model.halo.coarsening > 1 else 0.0
    scores = SCORE_BYTES * (1 if model.output != "scores" else len(model.indices_to_ids))
    return ARENA_FACTOR * max(live, scores * (1 + coarse) + CLASS_INDEX_BYTES)


def reach_of(package: ModelPackage, is_probed: bool | None = None) -> Reach | None:
    """Return how far an answer of the package's network reaches, None where nothing could be found.

    Args:
        package: definition and graphs.
        is_probed: as for `load_model`.
    """
    emd, graph = package.emd, package.file.graph
    source, result = image_tensors(graph)
    layout = layout_of(emd, source)
    walked = walk_reach(package.file.proto, source.name, layout)
    probed = None
    if is_probed or (is_probed is None and _is_open(emd, walked)):
        known = package.probed and package.probed.reach
        probed = known if known and not is_probed else probe_of(package.file, emd, layout)
    if walked is None and probed is None:
        return None
    coarsening = answer_step(package.file.proto, source.name, result.name, layout)
    joined = replace(join_reaches(walked, probed), coarsening=coarsening)
    return _after_preprocessing(joined, package.preprocessing)


def _is_open(emd: Emd, walked: Reach | None) -> bool:
    """Say whether neither graph nor definition tell how far an answer reaches."""
    return (walked is None or is_unknown(walked)) and emd.Padding is None and not emd.ModelPadding


def probe_of(file: GraphFile, emd: Emd | None, layout: Layout) -> Reach:
    """Find how far an answer of a network reaches by running it, on values that its definition calls plausible.

    Raises:
        ModelError: onnxruntime refuses the network, or neither graph nor definition tell its channels.
    """
    from geodl_core.engine.probe_model import probe_reach  # noqa: PLC0415  # see above
    from geodl_core.engine.probe_network import ProbeSpec  # noqa: PLC0415

    source, _ = image_tensors(file.graph)
    channels = source.shape[layout.index("C")] or len((emd and emd.ExtractBands) or ())
    if not channels:
        raise ModelError(f"the ONNX input {source} leaves its channels open")
    low, high = USUAL_RANGE if emd is None else _plausible(emd)
    spec = ProbeSpec(layout, (low,) * channels, (high,) * channels, PROBE_SEED, budget_s=PROBE_BUDGET_S)
    return probe_reach(file.proto.SerializeToString(), spec)


def _plausible(emd: Emd) -> tuple[float, float]:
    """Return a range of the values that the network takes."""
    low, high = emd.DataRange or USUAL_RANGE
    return (low, high) if low < high else USUAL_RANGE


def _after_preprocessing(reach: Reach, preprocessing: GraphFile | None) -> Reach:
    """Return the reach of a network with a graph before it."""
    if preprocessing is None or reach.radius_px is None:
        return reach
    source, _ = image_tensors(preprocessing.graph)
    before = walk_reach(preprocessing.proto, source.name, "NCHW")
    if before is None or before.radius_px is None:
        raise ModelError("PreprocessingModel: expected a graph that looks at each pixel alone, or a little around it")
    radius = reach.radius_px + before.radius_px
    return replace(reach, radius_px=radius, stride_px=lcm(reach.stride_px, before.stride_px))
