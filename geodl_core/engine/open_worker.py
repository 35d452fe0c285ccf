"""Open what shards are computed with: the network in a session, the scene's files, threads; all within a memory."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geodl_core.domain.area.area import Area
from geodl_core.domain.area.area_grid import area_mask, area_on_grid
from geodl_core.domain.classes import choose_storage, lookup_table
from geodl_core.domain.model.model import Model
from geodl_core.domain.pixels.augment import AS_IT_IS, DIHEDRAL, FLIPS, Turn
from geodl_core.domain.pixels.decode import Decoding
from geodl_core.domain.pixels.product import Product, class_product, score_product
from geodl_core.domain.plan.plan import Plan, live_tiles, tile_at
from geodl_core.engine.blend_tiles import MOST_TILES
from geodl_core.engine.check_half import check_half, require_half
from geodl_core.engine.plan_inputs import require_unchanged
from geodl_core.engine.plan_scene import ScenePlan
from geodl_core.engine.result_place import Task
from geodl_core.engine.run_shard import announce_tasks
from geodl_core.engine.session import (
    OnnxSession,
    Provider,
    SessionChoice,
    import_runtime,
    open_session,
    usable_cores,
)
from geodl_core.engine.worker import AreaMask, Network, Reader, Worker
from geodl_core.errors import InputError, ModelError, PlanError
from geodl_core.io.network.fuse import Feed, Yield, fuse
from geodl_core.io.network.fused_cache import fused_bytes, fused_key
from geodl_core.io.network.half import to_half
from geodl_core.io.package.package import ModelPackage
from geodl_core.io.scene.mosaic_reader import open_reader
from geodl_core.io.scene.scene_reader import READ_BYTES

BASE_BYTES = 256 << 20
"""Of a process with its libraries loaded, and an empty session."""
UNKNOWN_BYTES_PER_PX = 1024.0
"""Taken for a network whose activations cannot be told from its graph."""
CHECKED_TILES = 4
"""Compared before fp16 is used."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a run may use of the machine; none of it changes the result but by the rounding of another provider."""

    threads: int | None = None
    """Tiles computed at a time; by default one a core, or what `max_memory_bytes` allows."""
    batch_size: int = 1
    """Tiles given to a network of open batch at a time."""
    provider: Provider = "auto"
    cache: Path | None = None
    """Folder of what may be made anew at any time: fused graphs."""
    max_memory_bytes: int | None = None
    """Of the process. It bounds what is in flight; the size of tiles is a matter of the plan."""


def products_of(planned: ScenePlan) -> tuple[Product, ...]:
    """Return the rasters that a job writes."""
    if planned.model.detector is not None:
        return ()
    classes = planned.model.classes
    first = class_product(choose_storage(entry.value for entry in classes))
    kind = planned.job.probabilities
    return (first,) if kind is None else (first, score_product(classes, kind))


def decoding_of(planned: ScenePlan) -> Decoding:
    """Return how a job's answers become stored values.

    Raises:
        ModelError: scores are asked for of a class that the network does not tell apart.
        PlanError: what is asked for needs scores, which the network does not give.
    """
    model, job = planned.model, planned.job
    needs_scores = job.probabilities is not None or job.test_time_augmentation or not job.predict_background
    if model.output == "class map" and needs_scores:
        raise PlanError(
            "test_time_augmentation, predict_background and return_probability_raster need a network that gives "
            "scores; this one gives a class map"
        )
    storage = choose_storage(entry.value for entry in model.classes)
    position = {value: index for index, value in enumerate(model.indices_to_ids)}
    missing = [entry.name for entry in model.classes if entry.value not in position]
    if missing and job.probabilities:
        raise ModelError(f"return_probability_raster: the network gives no scores for the classes {', '.join(missing)}")
    if not job.predict_background and 0 not in position:
        raise PlanError("predict_background: the model has no class of value 0 that could be left out")
    return Decoding(
        output=model.output,
        storage=storage,
        lookup=lookup_table(model.indices_to_ids, storage),
        threshold=model.threshold,
        left_out=None if job.predict_background else position[0],
        score_order=tuple(position.get(entry.value, 0) for entry in model.classes),
    )


@contextmanager
def open_worker(
    planned: ScenePlan,
    package: ModelPackage,
    means: Means,
    on_tiles: Callable[[int], None],
    tasks: Sequence[Task] = (),
) -> Iterator[Worker]:
    """Give what shards are computed with, and take it down afterwards.

    Args:
        planned: the job.
        package: of its model.
        means: of this machine.
        on_tiles: told how many tiles were finished.
        tasks: the shards that will be run: their first pixels are read while the network is made ready.

    Raises:
        InputError: no such provider, or a memory in which not one tile fits.
        ModelError: onnxruntime refuses the network.
        PlanError: the job asks for what the network cannot.
        InferenceError: fp16 was asked for and disagrees with fp32.
    """
    plan = planned.plan
    threads, intra = crew_of(planned, means)
    read_bytes = READ_BYTES if means.max_memory_bytes is None else min(READ_BYTES, means.max_memory_bytes // 4)
    decoding, products = decoding_of(planned), products_of(planned)
    # The pool ends before the reader closes the files.
    with open_reader(plan, read_bytes) as reader, ThreadPoolExecutor(threads, "infer") as pool:
        if planned.job.precision == "fp32":
            announce_tasks(plan, tasks, reader)
        network = _network(planned, package, replace(means, threads=intra), reader)
        yield Worker(
            reader=reader,
            network=network,
            decoding=decoding,
            products=products,
            area_mask=area_of(plan),
            pool=pool,
            threads=threads,
            compression=planned.job.compress,
            on_tiles=on_tiles,
            check=lambda: require_unchanged(planned.job, plan),
        )


def crew_of(planned: ScenePlan, means: Means) -> tuple[int, int]:
    """Return how many tiles are computed at a time, and with how many threads each.

    One thread a tile gives the best throughput; where the memory holds fewer tiles than there are cores, the cores
    share them.

    Raises:
        InputError: not one tile fits into the memory.
    """
    cores = usable_cores()
    wanted = means.threads or cores
    if means.max_memory_bytes is None:
        return wanted, 1
    each = tile_bytes(planned) * max(means.batch_size, planned.model.batch or 1)
    left = means.max_memory_bytes - BASE_BYTES - min(READ_BYTES, means.max_memory_bytes // 4) - _blended_bytes(planned)
    fitting = int(left // each)
    if fitting < 1:
        needed = (BASE_BYTES + each) * 4 / 3
        raise InputError(
            f"max_memory: a tile takes {each / 2**20:.0f} MiB, which with all else needs {needed / 2**20:.0f} MiB, "
            f"found {means.max_memory_bytes / 2**20:.0f} MiB",
            hint="allow more, or smaller tiles with --tile-memory",
        )
    threads = min(wanted, fitting)
    return threads, max(1, cores // threads) if means.threads is None else 1


def tile_bytes(planned: ScenePlan) -> int:
    """Return about how much memory a tile takes while it is computed."""
    model, plan = planned.model, planned.plan
    height, width = (side + 2 * plan.halo_px for side in plan.core_px)
    # Tiles of a detector are resized to what its network takes.
    rows, cols = model.chip_px if model.detector is not None and model.is_size_fixed else (height, width)
    chip = len(plan.sources) * np.dtype(plan.chip_dtype).itemsize + 1
    has_scores = planned.job.probabilities is not None or planned.job.test_time_augmentation
    # Those of one look, and what they are merged or stored in.
    scores = 8 * len(model.indices_to_ids) if has_scores and model.detector is None else 0
    return int(rows * cols * (model.bytes_per_px or UNKNOWN_BYTES_PER_PX) + height * width * (chip + scores))


def _blended_bytes(planned: ScenePlan) -> int:
    """Return how much the scores of neighbours take that are blended, whatever the threads."""
    if not planned.plan.blend_px:
        return 0
    height, width = (side + 2 * planned.plan.halo_px for side in planned.plan.core_px)
    return MOST_TILES * height * width * 4 * len(planned.model.indices_to_ids)


def _network(planned: ScenePlan, package: ModelPackage, means: Means, reader: Reader) -> Network:
    """Open the network; `means.threads` are those of a call."""
    model, job, plan = planned.model, planned.job, planned.plan
    turns = _turns(model, job.test_time_augmentation)
    scores = plan.blend_px > 0 or job.probabilities is not None or len(turns) > 1
    # Merged scores choose the class themselves; scores of one look would, where they tie, choose another than logits.
    has_class = scores and model.output == "scores" and len(turns) == 1 and not plan.blend_px
    left_out = decoding_of(planned).left_out if has_class or not scores else None
    wanted = Yield(scores, left_out, not has_gpu(means.provider), has_class)
    feed = Feed(planned.radiometry, plan.chip_dtype, package.preprocessing)
    content = fused_bytes(means.cache, fused_key(model, feed, wanted), lambda: fuse(package.file, model, feed, wanted))
    choice = SessionChoice(means.provider, means.threads or 1, means.cache)
    session = open_session(content, choice)
    if job.precision == "fp16":
        half = open_session(to_half(content), choice)
        require_half(check_half(session, half, _real_chips(plan, reader, model.batch), model.threshold, has_class))
        session = half
    return Network(
        session=session,
        gives_scores=scores,
        has_class=has_class,
        is_cropping=model.halo.is_cropping,
        batch=model.batch or means.batch_size,
        is_batch_fixed=model.batch is not None,
        turns=turns,
        policy=job.merge_policy,
    )


def _real_chips(
    plan: Plan, reader: Reader, batch: int | None
) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """Yield the pixels of a few live tiles, spread over the scene; each as often as a fixed batch wants."""
    tiles = live_tiles(plan)
    chosen = tiles[np.unique(np.linspace(0, len(tiles) - 1, CHECKED_TILES).astype(int))] if len(tiles) else tiles
    for index in chosen:
        pixels = reader.read(tile_at(plan, int(index)).read).pixels
        yield np.repeat(pixels[None], batch or 1, axis=0)


def _turns(model: Model, is_augmented: bool) -> tuple[Turn, ...]:
    """Return the ways in which a network looks at each tile; quarter turns where it takes what comes of them."""
    if not is_augmented:
        return AS_IT_IS
    is_square = model.chip_px[0] == model.chip_px[1]
    return DIHEDRAL if is_square or not model.is_size_fixed else FLIPS


def has_gpu(provider: Provider) -> bool:
    """Say whether a session of a provider runs on a GPU."""
    if provider == "auto":
        return "CUDAExecutionProvider" in import_runtime().get_available_providers()
    return provider in ("cuda", "tensorrt")


def area_of(plan: Plan) -> AreaMask | None:
    """Return which pixels of a window lie in a plan's area of interest; None: all."""
    if plan.area is None:
        return None
    shape = area_on_grid(Area(plan.area), plan.grid)
    return lambda window: area_mask(shape, window)


def session_of(worker: Worker) -> OnnxSession | None:
    """Return the worker's session where onnxruntime runs it, for its note."""
    return worker.network.session if isinstance(worker.network.session, OnnxSession) else None
