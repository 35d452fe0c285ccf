"""Open what the shards of a detector are computed with: the network in a session, the scene's files, threads."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from geodl_core.domain.detection.looks import Look
from geodl_core.domain.model.model import Model
from geodl_core.domain.pixels.augment import AS_IT_IS, DIHEDRAL, FLIPS, Turn
from geodl_core.domain.plan.plan import Plan
from geodl_core.engine.find_objects import Finder, Sight
from geodl_core.engine.open_worker import Means, area_of, crew_of, has_gpu
from geodl_core.engine.plan_inputs import require_unchanged
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.result_place import Task
from geodl_core.engine.run_shard import announce_tasks
from geodl_core.engine.session import OnnxSession, SessionChoice, open_session
from geodl_core.errors import ModelError
from geodl_core.io.network.fuse import Feed, Yield
from geodl_core.io.network.fuse_detector import fuse_detector
from geodl_core.io.network.fused_cache import fused_bytes, fused_key
from geodl_core.io.package.package import ModelPackage
from geodl_core.io.scene.mosaic_reader import open_reader
from geodl_core.io.scene.scene_reader import READ_BYTES


@contextmanager
def open_finder(
    planned: ScenePlan,
    package: ModelPackage,
    means: Means,
    told: tuple[Callable[[int], None], Callable[[int], None]],
    tasks: Sequence[Task] = (),
) -> Iterator[Finder]:
    """Give what shards are computed with, and take it down afterwards.

    Args:
        planned: the job.
        package: of its model.
        means: of this machine.
        told: how many tiles were finished, and how many boxes without an area were left out.
        tasks: the shards that will be run: their first pixels are read while the network is made ready.

    Raises:
        InputError: no such provider, or a memory in which not one tile fits.
        ModelError: onnxruntime refuses the network.
    """
    model, plan, choice = planned.model, planned.plan, planned.job.detection
    if model.detector is None or choice is None:
        raise ModelError(f"the model {model.name}: expected a detector")
    threads, intra = crew_of(planned, means)
    read_bytes = READ_BYTES if means.max_memory_bytes is None else min(READ_BYTES, means.max_memory_bytes // 4)
    sight = sight_of(planned)
    # The pool ends before the reader closes the files.
    with open_reader(plan, read_bytes) as reader, ThreadPoolExecutor(threads, "infer") as pool:
        announce_tasks(plan, tasks, reader)
        yield Finder(
            reader=reader,
            session=_session(planned, package, replace(means, threads=intra), sight),
            detector=model.detector,
            sight=sight,
            threshold=model.threshold,
            choice=choice,
            area_mask=area_of(plan),
            pool=pool,
            threads=threads,
            batch=model.batch or means.batch_size,
            is_batch_fixed=model.batch is not None,
            on_tiles=told[0],
            on_dropped=told[1],
            check=lambda: require_unchanged(planned.job, plan),
        )


def sight_of(planned: ScenePlan) -> Sight:
    """Return how a detector sees the tiles of a job."""
    model, plan, choice = planned.model, planned.plan, planned.job.detection
    read = read_px(plan)
    size = model.chip_px if model.is_size_fixed else read
    scales = choice.tta_scales if choice is not None and planned.job.test_time_augmentation else (1.0,)
    ways = _ways(model, size) if planned.job.test_time_augmentation else AS_IT_IS
    looks = tuple(Look(way, scale) for scale in scales for way in ways)
    is_resized = size != read or any(scale != 1 for scale in scales)
    dtype = "float32" if is_resized else plan.chip_dtype
    return Sight(size, model.is_size_fixed, model.halo.stride_px, looks, dtype)


def read_px(plan: Plan) -> tuple[int, int]:
    """Return height and width of a detector's read windows."""
    height, width = (side + 2 * plan.halo_px for side in plan.core_px)
    return height, width


def _ways(model: Model, size: tuple[int, int]) -> tuple[Turn, ...]:
    """Return the ways to turn a tile: quarter turns where the network takes what comes of them."""
    return DIHEDRAL if size[0] == size[1] or not model.is_size_fixed else FLIPS


def _session(planned: ScenePlan, package: ModelPackage, means: Means, sight: Sight) -> OnnxSession:
    """Open the network; `means.threads` are those of a call."""
    model = planned.model
    is_for_cpu = not has_gpu(means.provider)
    feed = Feed(planned.radiometry, sight.dtype, package.preprocessing)
    tensors = model.detector.decoder.tensors if model.detector else ()
    key = fused_key(model, feed, Yield(is_for_cpu=is_for_cpu), (*tensors, *sight.input_px))
    make = lambda: fuse_detector(package.file, model, feed, sight.input_px, is_for_cpu)  # noqa: E731
    content = fused_bytes(means.cache, key, make)
    return open_session(content, SessionChoice(means.provider, means.threads or 1, means.cache))
