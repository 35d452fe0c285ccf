"""What goes into the children of a Distributed Map: items that are read, selected and put together.

Sources: Step Functions' guide ("ItemReader", "ItemSelector", "ItemBatcher", "ItemsPath").
"""

import copy
import json
from dataclasses import dataclass
from typing import Any

from ministack.services import stepfunctions

from emulator.options import LIMIT_BYTES


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Map state stands: its definition, its input, the execution that it belongs to."""

    state: dict[str, Any]
    raw_input: Any
    effective: Any
    """The input after InputPath."""
    execution: dict[str, Any]
    ctx: dict[str, Any]
    """MiniStack's form of the context object."""

    @property
    def is_jsonata(self) -> bool:
        return stepfunctions._state_query_language(self.state, self.ctx) == "JSONata"


@dataclass(frozen=True, slots=True)
class Child:
    """One child execution to be."""

    input: Any
    weight: int
    """The items that it stands for."""


def children(place: Place) -> list[Child]:
    """The children of the state, in the order of their items.

    Raises:
        _ExecutionError: there is no array of items.
    """
    items = _items(place)
    if not isinstance(items, list):
        raise stepfunctions._ExecutionError("States.Runtime", "The items of a Distributed Map are not an array")
    inputs = [_selected(place, index, item) for index, item in enumerate(items)]
    if "ItemBatcher" not in place.state:
        return [Child(one, 1) for one in inputs]
    return _batches(place, inputs)


def number(place: Place, name: str) -> float | None:
    """A numeric field of the state: itself, an expression, or a path in the field's sibling …Path. None without it."""
    return _number(place, place.state, name)


def filled(place: Place, template: Any, ctx: dict[str, Any] | None = None) -> Any:
    """A template of the state with its paths or expressions evaluated."""
    ctx = place.ctx if ctx is None else ctx
    if place.is_jsonata:
        return stepfunctions._apply_jsonata_template(template, place.raw_input, ctx)
    return stepfunctions._resolve_params_obj(template, place.effective, ctx)


def _items(place: Place) -> Any:
    state = place.state
    if "ItemReader" in state:
        reader = copy.deepcopy(state["ItemReader"])
        if place.is_jsonata:
            reader["Parameters"] = filled(place, reader.pop("Arguments", {}))
        return stepfunctions._read_map_items(reader, place.effective, place.ctx)
    if place.is_jsonata:
        return filled(place, state["Items"]) if "Items" in state else place.raw_input
    return stepfunctions._resolve_path_or_ctx(state.get("ItemsPath", "$"), place.effective, place.ctx)


def _selected(place: Place, index: int, item: Any) -> Any:
    selector = place.state.get("ItemSelector") or place.state.get("Parameters")
    if not selector:
        return item
    return filled(place, selector, {**place.ctx, "Map": {"Item": {"Index": index, "Value": item}}})


def _batches(place: Place, inputs: list[Any]) -> list[Child]:
    batcher = place.state["ItemBatcher"]
    most = int(_number(place, batcher, "MaxItemsPerBatch") or len(inputs) or 1)
    most_bytes = int(_number(place, batcher, "MaxInputBytesPerBatch") or LIMIT_BYTES)
    shared = {"BatchInput": filled(place, batcher["BatchInput"])} if "BatchInput" in batcher else {}
    base = len(json.dumps({**shared, "Items": []}).encode())
    groups: list[list[Any]] = []
    size = 0
    for one in inputs:
        added = len(json.dumps(one).encode())
        if not groups or len(groups[-1]) >= most or size + len(", ") + added > most_bytes:
            groups.append([])
            size = base + added
        else:
            size += len(", ") + added
        groups[-1].append(one)
    return [Child({**shared, "Items": group}, len(group)) for group in groups]


def _number(place: Place, fields: dict[str, Any], name: str) -> float | None:
    if f"{name}Path" in fields:
        return stepfunctions._resolve_path_or_ctx(fields[f"{name}Path"], place.effective, place.ctx)
    if place.is_jsonata and isinstance(fields.get(name), str):
        return filled(place, fields[name])
    return fields.get(name)
