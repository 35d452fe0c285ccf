"""Labels of a detector and the classes of its definition: which label is which class id."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from geodl_core.domain.classes import ClassEntry
from geodl_core.domain.detection.decoder import Decoder
from geodl_core.domain.emd.types import EmdClass
from geodl_core.domain.model.classes import class_entry
from geodl_core.errors import ModelError

BACKGROUND_NAMES = ("background", "__background__", "_background_", "no object", "no-object")
RULES = ("value", "position")


def class_table(
    classes: Sequence[EmdClass], decoder: Decoder
) -> tuple[tuple[ClassEntry, ...], Mapping[int, int], tuple[str, ...]]:
    """Return the classes of a detector, which of its labels is which class id, and what had to be decided.

    A label is a class's `Value`. Where that cannot be it is the class's place in the list: where labels are the numbers
    of scores and the Values are others, where no Value is among the labels that are expected, and where Values begin at
    0 and labels at 1, or the other way round. Esri's own code does both.
    `settings["classes"]`, `value` or `position`, says which.

    Args:
        classes: of the definition; one that is called background is left out, unless the network scores it.
        decoder: how many classes the network tells apart, and what it calls the first.

    Returns:
        classes in the order of the definition; label → class id; notes.

    Raises:
        ModelError: no classes, one Value twice, or another number than the network tells apart.
    """
    notes: list[str] = []
    objects = _told_apart(classes, decoder, notes)
    entries = tuple(class_entry(entry, position) for position, entry in enumerate(objects))
    values = [entry.value for entry in entries]
    if not entries:
        raise ModelError("the key Classes is missing or empty; a detector needs Value and Name of each class")
    if len(set(values)) != len(values):
        twice = sorted({value for value in values if values.count(value) > 1})
        raise ModelError(f"Classes: every Value must stand once, found {twice} more than once")
    first = decoder.first_label
    said = decoder.settings.get("classes")
    if said not in (None, *RULES):
        raise ModelError(f"ModelConfiguration Config classes: expected value or position, found {said!r}")
    if said == "value" or (said is None and _is_by_value(values, decoder)):
        return entries, {value: value for value in values}, tuple(notes)
    last = first + len(values) - 1
    if said is None:
        notes.append(f"labels {first}–{last} are mapped to Classes by position: their Values are {_some(values)}")
    return entries, {first + place: value for place, value in enumerate(values)}, tuple(notes)


def class_ids_of(labels: npt.NDArray[np.int64], table: Mapping[int, int]) -> npt.NDArray[np.int32]:
    """Return the class ids of labels.

    Args:
        labels: (N,) the network's own.
        table: label → class id.

    Raises:
        ModelError: a label has no class.
    """
    unknown = sorted(set(labels.tolist()) - set(table))
    if unknown:
        raise ModelError(
            f"the network gives the label {unknown[0]}, which is no class: Classes has labels {_some(sorted(table))} "
            f"of Values {_some(list(table.values()))}",
            hint="say ModelConfiguration Config classes value or position, or first_label 0 or 1, "
            "or add what is missing to Classes",
        )
    return np.asarray([table[label] for label in labels.tolist()], np.int32)


def is_background(entry: EmdClass) -> bool:
    """Say whether a class is what the others stand out from."""
    return entry.Name.strip().lower() in BACKGROUND_NAMES


def _told_apart(classes: Sequence[EmdClass], decoder: Decoder, notes: list[str]) -> list[EmdClass]:
    """Return the classes that the network tells apart.

    Raises:
        ModelError: there are more or fewer.
    """
    objects = [entry for entry in classes if not is_background(entry)]
    if decoder.classes is not None and decoder.classes == len(classes) != len(objects):
        return list(classes)
    is_said = "classes" in decoder.settings
    if decoder.classes not in (None, len(objects)) and classes and not is_said:
        raise ModelError(
            f"the network tells {decoder.classes} classes apart ({decoder.why or decoder.form}), "
            f"but Classes has {len(objects)} with Values {_some([entry.Value for entry in objects])}",
            hint="if one of its scores is that of the background, say ModelConfiguration Config background first or "
            "last; if Classes names only some, say classes value",
        )
    if len(objects) < len(classes):
        notes.append("the background is no object: it is left out of the classes")
    return objects


def _is_by_value(values: Sequence[int], decoder: Decoder) -> bool:
    first = decoder.first_label
    known, count = set(values), len(values)
    expected = set(range(first, first + count))
    if decoder.classes is not None:
        # Labels are the numbers of scores, without gaps: Values with gaps are no labels.
        return known == expected
    return bool(expected & known) and not (known == set(range(1 - first, 1 - first + count)) and first in (0, 1))


def _some(values: Sequence[int]) -> str:
    """Return the values, those in the middle left out where there are many."""
    texts = [str(value) for value in values]
    return ", ".join(texts if len(texts) <= 12 else [*texts[:6], "…", *texts[-3:]])
