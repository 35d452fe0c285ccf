"""Classify given objects: a chip of each is cut from the scene, and the network tells its class."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from geodl_core.domain.model.object_chips import inside, seen_pixels
from geodl_core.domain.model.object_classes import Scores, all_scores
from geodl_core.domain.window import Window
from geodl_core.engine.open_worker import Means, has_gpu
from geodl_core.engine.plan_objects import ObjectPlan
from geodl_core.engine.session import SessionChoice, open_session, usable_cores
from geodl_core.engine.worker import Network, Reader, infer
from geodl_core.io.network.fuse import Feed, Yield
from geodl_core.io.network.fuse_scene import fuse_scene
from geodl_core.io.network.fused_cache import fused_bytes, fused_key
from geodl_core.io.package.package import ModelPackage
from geodl_core.io.scene.mosaic_reader import open_reader
from geodl_core.io.scene.scene_reader import READ_BYTES

MOST_CHIPS = 32
"""Of a batch."""
MOST_PIXELS = 1 << 21
"""Of a batch: 32 chips of 256 × 256."""
PIXEL = Window(0, 0, 1, 1)
"""What the fused graph answers of a chip."""


@dataclass(frozen=True, slots=True)
class ObjectScores:
    """What the network says of objects, in their order."""

    each: Scores
    """(N, K); NaN in the rows of objects that it did not see."""
    outside: npt.NDArray[np.int64]
    """Indices of objects outside the scene, or without a place."""
    invalid: npt.NDArray[np.int64]
    """Indices of objects without a valid pixel."""
    note: str | None
    """On the session."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What a batch is computed with."""

    plan: ObjectPlan
    reader: Reader
    network: Network
    dtype: str
    """Of the pixels that the network is given."""


def score_objects(
    plan: ObjectPlan,
    package: ModelPackage,
    means: Means,
    batch_size: int | None = None,
    on_objects: Callable[[int], None] = lambda _: None,
) -> ObjectScores:
    """Run the network on the chip of each object.

    Args:
        plan: where the chips lie.
        package: of the model.
        means: of this machine; `batch_size` of it plays no part.
        batch_size: chips at a time; None: as many as suit the cores, the chips' size and the graph.
        on_objects: told how many objects were finished.

    Raises:
        DataError: a block cannot be decoded.
        StoreError: a remote file cannot be read now.
        ModelError: onnxruntime refuses the network, or its answer does not fit the classes.
        InferenceError: the network failed.
    """
    scene = plan.planned.plan
    threads = means.threads or usable_cores()
    batches = _batches(plan, _batch_size(plan, batch_size, threads))
    each = np.full((len(plan.shapes), len(plan.classifier.model.indices_to_ids)), np.nan, np.float32)
    count = max(1, min(threads, len(batches)))
    # The pool ends before the reader closes the files.
    with open_reader(scene, READ_BYTES) as reader, ThreadPoolExecutor(count, "classify") as pool:
        reader.announce(plan.windows)
        work, note = _open(plan, package, replace(means, threads=max(1, threads // count)), reader)
        try:
            for places, scores in zip(batches, pool.map(lambda batch: _score(batch, work), batches), strict=True):
                each[plan.order[places]] = scores
                on_objects(len(places))
        finally:
            pool.shutdown(cancel_futures=True)
    read = np.zeros(len(each), np.bool_)
    read[plan.order] = True
    unseen = np.isnan(each).all(axis=1)
    return ObjectScores(each, np.flatnonzero(~read), np.flatnonzero(read & unseen), note)


def _batch_size(plan: ObjectPlan, asked: int | None, threads: int) -> int:
    model = plan.classifier.model
    if model.batch is not None:
        return model.batch
    if asked is not None:
        return asked
    fitting = MOST_PIXELS // (model.chip_px[0] * model.chip_px[1])
    return max(1, min(MOST_CHIPS, fitting, -(-len(plan.order) // threads)))


def _batches(plan: ObjectPlan, size: int) -> list[range]:
    """Return places in the plan's order."""
    return [range(start, min(start + size, len(plan.order))) for start in range(0, len(plan.order), size)]


def _open(plan: ObjectPlan, package: ModelPackage, means: Means, reader: Reader) -> tuple[_Work, str | None]:
    """Open the network; `means.threads` are those of a call."""
    classifier = plan.classifier
    model = classifier.model
    is_as_stored = classifier.is_crop_fixed and classifier.crop_px == model.chip_px
    dtype = plan.planned.plan.chip_dtype if is_as_stored else "float32"
    feed = Feed(plan.planned.radiometry, dtype, package.preprocessing)
    wanted = Yield(scores=True, is_for_cpu=not has_gpu(means.provider))
    key = fused_key(model, feed, wanted)
    content = fused_bytes(means.cache, key, lambda: fuse_scene(package.file, classifier, feed, wanted))
    session = open_session(content, SessionChoice(means.provider, means.threads or 1, means.cache))
    network = Network(
        session=session,
        gives_scores=True,
        has_class=False,
        is_cropping=False,
        batch=model.batch or MOST_CHIPS,
        is_batch_fixed=model.batch is not None,
    )
    return _Work(plan, reader, network, dtype), session.note


def _score(places: Sequence[int], work: _Work) -> Scores:
    """Return (n, K) scores of objects by their places in the plan's order; NaN without a valid pixel."""
    chips = [_seen(place, work) for place in places]
    seen = [index for index, chip in enumerate(chips) if chip is not None]
    scores = np.full((len(chips), len(work.plan.classifier.model.indices_to_ids)), np.nan, np.float32)
    if seen:
        pixels = np.stack([chip for chip in chips if chip is not None]).astype(work.dtype, copy=False)
        scores[seen] = all_scores(infer(pixels, PIXEL, PIXEL, work.network), work.plan.classifier)
    return scores


def _seen(place: int, work: _Work) -> npt.NDArray[Any] | None:
    """Return what the network is given of an object, None where it has no valid pixel."""
    plan, window = work.plan, work.plan.windows[place]
    chip = work.reader.read(window)
    if chip.valid.all() and not plan.classifier.is_blackened:
        return seen_pixels(chip, chip.valid, plan.classifier)
    mask = inside(plan.shapes[plan.order[place]], window)
    return seen_pixels(chip, mask, plan.classifier) if (chip.valid & mask).any() else None
