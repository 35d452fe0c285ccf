"""A watch: a standing order. Which Items are run through which model, with which options, when."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from geodl_core.domain.run.complaints import WATCH_NAME, WEB_ADDRESS, complaints
from geodl_core.domain.run.options import RunOptions, normal_area
from geodl_core.domain.run.order import LEAST_PRIORITY, MOST_PRIORITY
from geodl_core.errors import InputError

Identifier = Annotated[str, Field(min_length=1, max_length=200)]


class Source(BaseModel):
    """The STAC API that a scheduled watch looks into."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api: Annotated[str, Field(pattern=WEB_ADDRESS, max_length=2_000)] = "https://earth-search.aws.element84.com/v1"
    """Landing page."""
    lookback_days: Annotated[float, Field(gt=0, le=3650)] = 10
    """How far each scan reaches back behind the one before: Items appear late, and events are lost."""
    max_cloud: Annotated[float, Field(ge=0, le=100)] | None = None
    """Of `eo:cloud_cover`, per cent; an Item without it is taken."""
    min_cover: Annotated[float, Field(ge=0, le=1)] = 0
    """Share of the area that an Item's footprint has to cover."""


class Schedule(BaseModel):
    """When a watch scans: just one of the two."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: Annotated[str, Field(max_length=200)] | None = None
    """Five fields, in `timezone`."""
    every: timedelta | None = None
    """ISO 8601 duration (`PT6H`) or seconds; a minute at least."""
    timezone: Annotated[str, Field(max_length=64)] = "UTC"

    @model_validator(mode="after")
    def _one(self) -> "Schedule":
        if (self.cron is None) == (self.every is None):
            raise ValueError("expected either cron or every")
        if self.every is not None and self.every < timedelta(minutes=1):
            raise ValueError("every: expected a minute at least")
        return self


class Watch(BaseModel):
    """A standing order, as it is written in YAML or JSON and kept in the catalog."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=WATCH_NAME)]
    description: Annotated[str, Field(max_length=2_000)] = ""
    model: Identifier
    """`NAME` for the latest version at the time of the match, `NAME@VERSION` for one version for ever."""
    collections: tuple[Identifier, ...] = ()
    """Of the Items; any but `models` where empty."""
    aoi: str | None = Field(default=None, max_length=8_000_000)
    """GeoJSON of `domain.area.area`: selects Items that meet it, and clips what is computed."""
    clip: bool = True
    """False: whole scenes are computed."""
    filter: str | dict[str, Any] | None = None
    """CQL2, as text or as JSON."""
    options: RunOptions = Field(default_factory=RunOptions)
    """Of each run; its `aoi` may not be given."""
    output_collection: Identifier | None = None
    priority: Annotated[int, Field(ge=LEAST_PRIORITY, le=MOST_PRIORITY)] = 0
    dedupe_by: tuple[Identifier, ...] = ()
    """Properties that tell scenes apart instead of their ids: `s2:tile_id`, `datetime`."""
    mode: Literal["item", "schedule"] = "item"
    """`item`: Items that are published; `schedule`: those that scans of `source` find."""
    schedule: Schedule | None = None
    source: Source | None = None
    max_runs_per_day: Annotated[int, Field(ge=1)] | None = None
    """A brake: runs beyond it wait for the next day (UTC)."""

    @field_validator("aoi", mode="before")
    @classmethod
    def _area(cls, value: Any) -> Any:
        return None if value is None else normal_area(value)

    @model_validator(mode="after")
    def _whole(self) -> "Watch":
        if self.options.aoi is not None:
            raise ValueError("options.aoi: the watch's own aoi says where; expected none here")
        if self.mode == "schedule" and self.schedule is None:
            raise ValueError("schedule: expected cron or every, since mode is schedule")
        if self.mode == "item" and (self.schedule is not None or self.source is not None):
            raise ValueError("mode: expected schedule where a schedule or source is given")
        if self.mode == "schedule" and not self.collections:
            raise ValueError("collections: expected at least one, since mode is schedule")
        return self


def read_watch(document: Any, place: str) -> Watch:
    """Read a watch.

    Args:
        document: from JSON or YAML.
        place: what it is called in errors.

    Raises:
        InputError: a key that there is not, or a value of another type or domain.
    """
    try:
        return Watch.model_validate(document)
    except ValidationError as error:
        raise InputError(complaints(error, place, Watch)) from error


def watch_json(watch: Watch) -> dict[str, Any]:
    """Return a watch as a document that `read_watch` takes; what is usual is left out."""
    said: dict[str, Any] = watch.model_dump(mode="json", exclude_defaults=True)
    return said
