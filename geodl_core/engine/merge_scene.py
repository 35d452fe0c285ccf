"""Merge the parts of a scene into its rasters."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from geodl_core.domain.model.model import Model
from geodl_core.domain.pixels.product import Product
from geodl_core.domain.plan.job import Compression
from geodl_core.domain.plan.plan import Plan
from geodl_core.domain.result.result import RASTER_NAMES
from geodl_core.engine.result_place import Task
from geodl_core.engine.run_shard import block_format
from geodl_core.engine.session import usable_cores
from geodl_core.io.cog.cog_layout import CogSpec
from geodl_core.io.cog.cog_write import write_cog
from geodl_core.io.parts.part_set import PartSet


def merge_scene(
    plan: Plan, tasks: Sequence[Task], products: Sequence[Product], model: Model, target: tuple[Path, Compression]
) -> dict[int, int]:
    """Write the rasters of a whole scene, by copying the blocks that the shards encoded.

    Blocks that several shards have pixels in are put together and encoded first; a row of blocks of each overview is
    in memory at a time. The bytes do not depend on how many shards there were.

    Args:
        plan: of the scene.
        tasks: every shard with its part.
        products: what is written.
        model: for its classes.
        target: the folder, in which every file is written atomically, and the compression.

    Returns:
        How many pixels each stored value of the class map has, nodata among them.

    Raises:
        DataError: a part is missing, damaged, or of another plan.
        StoreError: a raster cannot be written.
    """
    folder, compression = target
    parts_of = [(task.path, task.header) for task in tasks]
    with PartSet(parts_of, folder) as parts, ThreadPoolExecutor(usable_cores()) as pool:
        for product in products:
            spec = CogSpec(
                grid=plan.grid,
                format=block_format(product, compression),
                halve=product.halve,
                scale=product.scale,
                colours={entry.value: entry.color for entry in model.classes} if product.samples == 1 else {},
                descriptions=() if product.samples == 1 else tuple(entry.name for entry in model.classes),
            )
            write_cog(
                folder / RASTER_NAMES[product.name], spec, parts.blocks(product.name, spec.format, product.halve), pool
            )
        counts = dict(parts.counts)
    missing = plan.grid.height * plan.grid.width - sum(counts.values())
    nodata = int(products[0].nodata)
    return {**counts, nodata: missing} if missing else counts
