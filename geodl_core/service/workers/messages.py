"""What workers elsewhere and their server tell one another, as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geodl_core.domain.run.complaints import complaints
from geodl_core.errors import InputError
from geodl_core.service.ledger.leases import Failure, Work
from geodl_core.service.ledger.runs import MOST_TEXT, Run, plain

MOST_KIND = 100
Lease = Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[\w-]+$")]


class LeaseRequest(BaseModel):
    """Who asks, and for how many shards of one run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    worker: Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[\w.:@-]+$")]
    most_shards: Annotated[int, Field(ge=1, le=10_000)] = 1


class Beat(BaseModel):
    """A sign of life."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tiles: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    lines: Annotated[tuple[tuple[Literal["info", "warning", "error"], str], ...], Field(max_length=1_000)] = ()


class Failed(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Annotated[str, Field(max_length=MOST_KIND)]
    message: Annotated[str, Field(max_length=MOST_TEXT)]
    hint: Annotated[str, Field(max_length=MOST_TEXT)] | None = None
    is_transient: bool
    state: Literal["failed", "invalid"]
    is_work_lost: bool = False


class HandBack(BaseModel):
    """Why work is given back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: Annotated[str, Field(max_length=400)]


def failure_of(message: Failed) -> Failure:
    """Return a failure as the ledger takes it."""
    return Failure(**message.model_dump())


def failure_json(failure: Failure) -> dict[str, Any]:
    """Return a failure as JSON of bounded size."""
    hint = None if failure.hint is None else plain(failure.hint)
    return {**asdict(failure), "kind": failure.kind[:MOST_KIND], "message": plain(failure.message), "hint": hint}


def work_json(work: Work) -> dict[str, Any]:
    """Return lent work as JSON; Item and options, which may be large, stay behind, since shards do not need them."""
    return {
        "lease": work.lease,
        "kind": work.kind,
        "numbers": list(work.numbers),
        "run": {**asdict(work.run), "options": {}},
        "expires_s": work.expires_s,
    }


class _Lent(BaseModel):
    """Shards that a server lends; of its run no more is believed than is needed."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    lease: Lease
    kind: Literal["shard"]
    numbers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, max_length=10_000)]
    run: dict[str, Any]
    expires_s: Annotated[float, Field(gt=0)]


def read_work(document: Mapping[str, Any], place: str) -> Work:
    """Read work that a server lends.

    Raises:
        InputError: it is none.
    """
    try:
        lent = _Lent.model_validate(document)
        return Work(lent.lease, lent.kind, lent.numbers, Run(**lent.run), None, lent.expires_s)
    except ValidationError as error:
        raise InputError(complaints(error, place)) from error
    except TypeError as error:
        raise InputError(f"{place}: expected a run of this geodl's version, found another ({error})") from error
