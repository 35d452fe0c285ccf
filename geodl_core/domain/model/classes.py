"""Class ids of a model: from the network's class index to the `Value` that is stored."""

from geodl_core.domain.classes import ClassEntry, default_color
from geodl_core.domain.emd.definition import Emd, EmdClass
from geodl_core.domain.model.tensors import Output
from geodl_core.errors import ModelError

BACKGROUND = ClassEntry(0, "Background", (238, 238, 232))


def classes_of(
    emd: Emd, output: Output, count: int | None, notes: list[str]
) -> tuple[tuple[ClassEntry, ...], tuple[int, ...]]:
    """Return the classes and the table from class index to class id: by `Value`, else by position.

    Esri's own code does both; the rule is the one that suits either.

    Args:
        emd: the definition.
        output: what the network gives.
        count: how many classes it tells apart, None where that is open.
        notes: what was decided is added.

    Raises:
        ModelError: no classes, one Value twice, or another number than the network tells apart.
    """
    classes = tuple(class_entry(entry, position) for position, entry in enumerate(emd.Classes))
    values = [entry.value for entry in classes]
    if not classes:
        raise ModelError("the key Classes is missing or empty; a classified raster needs Value and Name of each class")
    if len(set(values)) != len(values):
        twice = sorted({value for value in values if values.count(value) > 1})
        raise ModelError(f"Classes: every Value must stand once, found {twice} more than once")
    if output == "class map":
        return classes, tuple(values)
    count = len(classes) if count is None else count
    if set(range(count)) <= set(values):
        return classes, tuple(range(count))
    if count == len(classes):
        notes.append(f"class indices 0–{count - 1} are mapped to Classes by position: their Values are {values}")
        return classes, tuple(values)
    if count == len(classes) + 1 and 0 not in values:
        notes.append("the network has one class more than Classes: index 0 is taken as background, class id 0")
        by_value = set(values) == set(range(1, count))
        return (BACKGROUND, *classes), tuple(range(count)) if by_value else (0, *values)
    raise ModelError(f"the network tells {count} classes apart, but Classes has {len(classes)} with Values {values}")


def class_entry(entry: EmdClass, position: int) -> ClassEntry:
    """Return a class of a definition; its colour, where none is said, is that of its place among the classes."""
    color = entry.Color
    if color is None or min(color) < 0:
        color = default_color(position)
    return ClassEntry(entry.Value, entry.Name, color)
