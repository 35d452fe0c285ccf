"""A plan as a file: all that shards, merge and registration need, on any machine, the pixels apart."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.network.reach import Reach
from geodl_core.domain.plan.job import Arguments, Job, job_id
from geodl_core.domain.plan.plan import Plan, live_tiles
from geodl_core.domain.scene.item import Band
from geodl_core.domain.scene.radiometry import Radiometry
from geodl_core.errors import GeodlError, PlanError

FORMAT: Literal["geodl-plan-1"] = "geodl-plan-1"
MOST_BYTES = 256 << 20
"""Of the file: more than any plan needs."""


class PlanDocument(BaseModel):
    """A job, its plan and where it comes from."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings"
    )

    format: Literal["geodl-plan-1"] = FORMAT
    job: Job
    plan: Plan
    shards: int
    """How many shards it is meant to be run in."""
    batch_size: int = 1
    """Tiles given to a network of open batch at a time, where a shard is not told otherwise."""
    bands: tuple[Band, ...]
    notes: tuple[str, ...]
    rule: str = ""
    warnings: tuple[str, ...] = ()
    arguments: Arguments
    source: dict[str, Any]
    """The Item, with absolute hrefs; of a mosaic the first."""
    others: tuple[dict[str, Any], ...] = ()
    """Further Items of a mosaic, in order."""
    collection: str
    """Of the output."""
    results: str | None = None
    """Folder or URL in which the files of the result belong, where that is not beside the plan."""
    model_file: str
    """Name of the model's package beside the plan."""
    model_sha256: str
    """Of that file."""
    emd_text: bytes
    """The definition, verbatim; the package's may name its files otherwise."""
    model_name: str
    model_word: str
    """What names the model on a command line."""
    model_item_href: str | None
    decoder: Decoder | None = None
    """Of a detector: how its answer is read, so that every machine reads it alike, and none has to find out."""
    reach: Reach | None = None
    """As the network's answers showed it when the model was registered, where its graph does not tell."""

    @property
    def radiometry(self) -> Radiometry:
        return self.job.radiometry


def parse_plan(content: bytes, shown: str) -> PlanDocument:
    """Read a plan.

    Args:
        content: of the file.
        shown: what to call it in errors.

    Raises:
        PlanError: not a plan of this version, or its job and plan do not belong together.
    """
    try:
        document = PlanDocument.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise PlanError(f"{shown}: expected a plan ({FORMAT}); {place}: {first['msg']}") from error
    except GeodlError as error:
        raise PlanError(f"{shown}: expected a plan ({FORMAT}): {error.message}", error.hint) from error
    if job_id(document.job) != document.plan.job_id:
        raise PlanError(
            f"{shown}: the plan is of another job than the one it names",
            hint="it was changed, or made by another version of geodl: plan again",
        )
    different = [
        name
        for name, (planned, asked) in _both(document.job, document.plan, document.shards).items()
        if planned != asked
    ]
    if different:
        raise PlanError(
            f"{shown}: the plan is laid out otherwise than its job: {', '.join(different)}", hint="plan again"
        )
    return document


def _both(job: Job, plan: Plan, shards: int) -> dict[str, tuple[Any, Any]]:
    """Return what a plan and its job both say, as text where NaN must equal itself."""
    names = ("grid", "core_px", "halo_px", "blend_px", "pad", "area")
    same: dict[str, tuple[Any, Any]] = {name: (getattr(plan, name), getattr(job, name)) for name in names}
    planned = [(source.asset, source.index, str(source.nodata)) for source in plan.sources]
    same["sources"] = (planned, [(entry.asset, entry.index, str(entry.nodata)) for entry in job.inputs])
    masks = [(mask.source.asset, mask.source.index, tuple(mask.values)) for mask in plan.masks]
    same["masks"] = (masks, [(entry.asset, entry.index, tuple(values)) for entry, values in job.masks])
    layers = [[(source.asset, source.index) for source in layer.sources] for layer in plan.layers]
    same["layers"] = (layers, [[(entry.asset, entry.index) for entry in item.inputs] for item in job.mosaic])
    bits = [tuple(mask.bits) for mask in plan.masks]
    same["mask_bits"] = (bits if any(bits) else [], [tuple(entry) for entry in job.mask_bits])
    own = [(layer.radiometry, item.radiometry) for layer, item in zip(plan.layers, job.mosaic, strict=False)]
    same["layer_radiometry"] = ([asked for asked, _ in own if asked], [item for asked, item in own if asked])
    same["shards"] = (1 <= shards <= max(1, len(live_tiles(plan))), True)
    return same
