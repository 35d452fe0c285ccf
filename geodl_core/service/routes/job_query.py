"""Which jobs a request for their list means: the standard's parameters, and geodl's own."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from geodl_core.domain.run.state import STATES, State
from geodl_core.errors import InputError
from geodl_core.service.ledger.runs import RunFilter
from geodl_core.service.routes.process_documents import STATUS
from geodl_core.service.runs.facts import seconds_of
from geodl_core.service.runs.remote import read_before

MOST_JOBS = 1_000
Status = Literal["accepted", "running", "successful", "failed", "dismissed"]
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""Without NUL, which not every database takes."""
Word = Annotated[Text, Field(max_length=400)]


class JobQuery(BaseModel):
    """Parameters of `/jobs`."""

    model_config = ConfigDict(frozen=True)

    type: list[Word] = Field(default=[], max_length=20, description="Only `process` has jobs.")
    processID: list[Word] = Field(default=[], max_length=100, description="Models, NAME or NAME@VERSION.")  # noqa: N815
    status: list[Status] = Field(default=[], max_length=20)
    datetime: Annotated[str, Field(max_length=100)] | None = Field(default=None, description="When it was created.")
    minDuration: Annotated[float, Field(ge=0)] | None = Field(default=None, description="Seconds.")  # noqa: N815
    maxDuration: Annotated[float, Field(ge=0)] | None = Field(default=None, description="Seconds.")  # noqa: N815
    limit: Annotated[int, Field(ge=1)] = Field(default=100, description=f"Up to {MOST_JOBS}.")
    state: list[State] = Field(default=[], max_length=20, description="Of the run; finer than status.")
    watch: Word | None = None
    item: Annotated[Text, Field(max_length=2_100)] | None = Field(default=None, description="COLLECTION/ID.")
    since: Annotated[str, Field(max_length=60)] | None = Field(default=None, description="Changed since.")
    before: Annotated[Text, Field(max_length=200)] | None = Field(default=None, description="Of a `next` link.")


def run_filter(query: JobQuery) -> RunFilter | None:
    """Return which runs a request means, None where it can mean none.

    Raises:
        InputError: a time or place that cannot be read.
    """
    of_status = [state for state in STATES if STATUS[state] in query.status] if query.status else STATES
    states = tuple(state for state in of_status if not query.state or state in query.state)
    if not states or (query.type and "process" not in query.type):
        return None
    return RunFilter(
        states=() if len(states) == len(STATES) else states,
        watch=query.watch,
        model=tuple(query.processID) or None,
        item=None if query.item is None else _item(query.item),
        since=None if query.since is None else seconds_of(query.since),
        created=_interval(query.datetime),
        lasted_s=(query.minDuration, query.maxDuration),
        limit=min(query.limit, MOST_JOBS),
        before=None if query.before is None else read_before(query.before),
    )


def _item(text: str) -> tuple[str | None, str]:
    collection, slash, item_id = text.rpartition("/")
    if not item_id:
        raise InputError("item: expected COLLECTION/ID, found no id")
    return (collection if slash else None), item_id


def _interval(text: str | None) -> tuple[float | None, float | None]:
    if text is None:
        return None, None
    first, slash, last = text.partition("/")
    if not slash:
        return seconds_of(first), seconds_of(first)
    begin, end = (None if part in ("", "..") else seconds_of(part) for part in (first, last))
    return begin, end
