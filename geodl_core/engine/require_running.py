"""Run a model once on the CPU, put together as for a run; no scene is needed."""

from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.detection.decode import decode_answer
from geodl_core.domain.detection.detector import Detector
from geodl_core.domain.detection.labels import class_ids_of
from geodl_core.domain.model.agreement import with_fitting_type
from geodl_core.domain.model.model import Model
from geodl_core.domain.model.object_classes import all_scores
from geodl_core.domain.model.object_classifier import ObjectClassifier
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.engine.load_any import Loaded, model_in
from geodl_core.engine.probe_detector import plausible_range
from geodl_core.engine.session import OnnxSession, open_session
from geodl_core.errors import InferenceError, ModelError, OutOfMemoryError
from geodl_core.io.network.fuse import Feed, Yield, fuse
from geodl_core.io.network.fuse_detector import fuse_detector
from geodl_core.io.network.fuse_scene import fuse_scene
from geodl_core.io.package.package import ModelPackage

SEED = 20260701


def require_running(package: ModelPackage, loaded: Loaded) -> None:
    """Make sure that a model's network runs on the CPU, and that its answer is what the definition says.

    Args:
        package: definition and graphs.
        loaded: what they mean.

    Raises:
        ModelError: onnxruntime refuses the network, it fails on noise, or its answer does not fit.
        OutOfMemoryError: there is no memory for one tile.
    """
    model = model_in(loaded)
    count = len(model.bands)
    feed = Feed(Radiometry("raw", (1.0,) * count, (0.0,) * count, None), "float32", package.preprocessing)
    size = _size(model)
    noise = _noise(package, model, size)
    try:
        if isinstance(loaded, ObjectClassifier):
            _classify(noise, loaded, package, feed)
        elif model.detector is not None:
            session = open_session(fuse_detector(package.file, model, feed, size, True), "cpu")
            _detect(noise, model, model.detector, session)
        else:
            _classify_pixels(noise, model, package, feed)
    except OutOfMemoryError:
        raise
    except (InferenceError, ModelError) as error:
        found = ModelError(error.message, error.hint)
        raise with_fitting_type(found, package.emd, package.file.graph) from error


def _size(model: Model) -> tuple[int, int]:
    """Return height and width of a tile; where they are free, such that halve evenly as often as the network halves."""
    step = 1 if model.is_size_fixed else model.halo.stride_px
    height, width = (-(-side // step) * step for side in model.chip_px)
    return height, width


def _noise(package: ModelPackage, model: Model, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return (N, C, H, W) values that the network may be given."""
    low, high = plausible_range(package.emd)
    random = np.random.default_rng(SEED).random((model.batch or 1, len(model.bands), *size), np.float32)
    noise: npt.NDArray[np.float32] = (low + random * (high - low)).astype(np.float32)
    return noise


def _classify_pixels(noise: npt.NDArray[Any], model: Model, package: ModelPackage, feed: Feed) -> None:
    gives_scores = model.output == "scores"
    content = fuse(package.file, model, feed, Yield(scores=gives_scores, is_for_cpu=True))
    answer = open_session(content, "cpu").infer(noise)
    left_off = 2 * model.halo.px if model.halo.is_cropping else 0
    expected = tuple(side - left_off for side in noise.shape[-2:])
    if answer.shape[-2:] != expected or len(answer) != len(noise):
        raise ModelError(
            f"the network gives {_sizes(answer.shape[-2:])} pixels for a tile of {_sizes(noise.shape[-2:])}, "
            f"expected {_sizes(expected)}"
        )
    if gives_scores and answer.shape[1] != len(model.indices_to_ids):
        raise ModelError(
            f"the network gives {answer.shape[1]} scores a pixel, expected {len(model.indices_to_ids)}: one a class"
        )


def _detect(noise: npt.NDArray[Any], model: Model, detector: Detector, session: OnnxSession) -> None:
    tensors = session.infer_all(noise)
    for each in decode_answer(tensors, detector.decoder, noise.shape[-2:], model.threshold, len(noise)):
        class_ids_of(each.found.labels, detector.labels)


def _classify(noise: npt.NDArray[Any], classifier: ObjectClassifier, package: ModelPackage, feed: Feed) -> None:
    content = fuse_scene(package.file, classifier, feed, Yield(scores=True, is_for_cpu=True))
    answer = open_session(content, "cpu").infer(noise)
    if len(answer) != len(noise):
        raise ModelError(f"the network gives {len(answer)} rows of scores for {len(noise)} chips")
    all_scores(answer, classifier)


def _sizes(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
