"""What EMDs in the wild say otherwise than documented, put right and reported."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from geodl_core.domain.emd.text import KeyPath, Place, Repair, spell

WHOLE_KEYS = ("ImageHeight", "ImageWidth", "BatchSize", "ModelPadding", "Padding")
REAL_KEYS = ("Threshold", "PerProcessGPUMemoryFraction")
FLAG_KEYS = (
    "fixedTileSize",
    "CropSizeFixed",
    "BlackenAroundFeature",
    "SupportsVariableTileSize",
    "IsEdgeDetection",
    "IsMultispectral",
    "IsMultidimensional",
    "test_time_augmentation",
)
TEXT_KEYS = ("ModelName", "ModelVersion", "ArcGISLearnVersion", "Description")
FILE_KEYS = ("ModelFile", "InferenceFunction", "PreprocessingModel", "ModelConfigurationFile")
OLD_CLASS_KEYS = {"ClassValue": "Value", "ClassName": "Name"}
_ESCAPED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
_FLAG_WORDS = {"true": True, "1": True, "false": False, "0": False}
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_REAL = re.compile(r"[-+]?[0-9]{0,18}\.?[0-9]{1,18}(?:[eE][-+]?[0-9]{1,2})?")

Fix = Callable[[Any], Any]
"""From a value to the one that is meant; the value itself where it is as documented."""


def place_of(positions: Mapping[KeyPath, Place], path: KeyPath) -> Place:
    """Return where a key stands, or the nearest one above it."""
    while path and path not in positions:
        path = path[:-1]
    return positions.get(path, Place(1, 1))


class Mender:
    """Puts a document right in place and keeps what it did."""

    def __init__(self, document: dict[str, Any], positions: Mapping[KeyPath, Place], known: Collection[str]) -> None:
        self.document = document
        self.positions = dict(positions)
        self.known = known
        self.repairs: list[Repair] = []

    def mend(self) -> None:
        """Apply every rule."""
        self._lift_nested_keys()
        for keys, fix in _RULES.items():
            for key in keys:
                self._mend_key(self.document, (key,), fix)
        if isinstance(self.document.get("Classes"), list):
            self._mend_classes(self.document["Classes"])

    def report(self, path: KeyPath, message: str) -> None:
        """Keep a repair at a key."""
        place = place_of(self.positions, path)
        self.repairs.append(Repair(place.line, place.column, spell(path), message))

    def _mend_key(self, holder: dict[str, Any], path: KeyPath, fix: Fix) -> None:
        key = str(path[-1])
        if key not in holder:
            return
        value = holder[key]
        meant = fix(value)
        if type(meant) is not type(value) or meant != value:
            holder[key] = meant
            self.report(path, f"{spell(path)}: {shortened(value)} was read as {shortened(meant)}")

    def _lift_nested_keys(self) -> None:
        """Some generators put everything into `ModelConfiguration`."""
        nested = self.document.get("ModelConfiguration")
        if not isinstance(nested, dict):
            return
        for key, value in nested.items():
            if key in self.known and key not in self.document and key != "ModelConfiguration":
                self.document[key] = value
                for path, place in list(self.positions.items()):
                    if path[:2] == ("ModelConfiguration", key):
                        self.positions[path[1:]] = place
                self.report((key,), f"{key} was read from ModelConfiguration")

    def _mend_classes(self, classes: list[Any]) -> None:
        self._rename_old_class_keys(classes)
        first_seen: dict[int, int] = {}
        for index, entry in enumerate(classes):
            if not isinstance(entry, dict):
                continue
            for key, fix in _CLASS_RULES.items():
                self._mend_key(entry, ("Classes", index, key), fix)
            value = entry.get("Value")
            if isinstance(value, int) and first_seen.setdefault(value, index) != index:
                path = ("Classes", index, "Value")
                self.report(path, f"{spell(path)}: {value} stands already in Classes[{first_seen[value]}]")

    def _rename_old_class_keys(self, classes: list[Any]) -> None:
        for old, new in OLD_CLASS_KEYS.items():
            indices = [i for i, entry in enumerate(classes) if isinstance(entry, dict) and old in entry]
            indices = [index for index in indices if new not in classes[index]]
            for index in indices:
                classes[index] = {new if key == old else key: value for key, value in classes[index].items()}
                place = place_of(self.positions, ("Classes", index, old))
                self.positions.setdefault(("Classes", index, new), place)
            if indices:
                self.report(("Classes", indices[0], new), f"Classes: {old} was read as {new} ({len(indices)} times)")


def shortened(value: Any) -> str:
    """Return a value as JSON, cut where it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _to_whole(value: Any) -> Any:
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) else value


def _to_real(value: Any) -> Any:
    return float(value) if isinstance(value, str) and _REAL.fullmatch(value.strip()) else value


def _to_flag(value: Any) -> Any:
    return _FLAG_WORDS.get(value.strip().lower(), value) if isinstance(value, str) else value


def _to_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _to_version(value: Any) -> Any:
    """Documented as YYYY.MM: the number 2019.1 was 2019.10."""
    return f"{value:.2f}" if isinstance(value, float) and 1900 <= value < 2200 else _to_text(value)


def _to_file(value: Any) -> Any:
    r"""`models\net.onnx` in valid JSON holds a line end where a backslash and an n are meant."""
    return "".join(_ESCAPED.get(character, character) for character in value) if isinstance(value, str) else value


def _to_color(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"#[0-9A-Fa-f]{6}", value.strip()):
        return list(bytes.fromhex(value.strip()[1:]))
    return [_to_whole(part) for part in value] if isinstance(value, list) else value


def _to_model_type(value: Any) -> Any:
    """Esri's own documentation has the typing error."""
    return "ObjectDetection" if isinstance(value, str) and value.lower() == "objectiondetection" else value


def _to_layout(value: Any) -> Any:
    return value.upper() if isinstance(value, str) and value.upper() in ("NCHW", "NHWC") else value


_RULES: dict[tuple[str, ...], Fix] = {
    WHOLE_KEYS: _to_whole,
    REAL_KEYS: _to_real,
    FLAG_KEYS: _to_flag,
    TEXT_KEYS: _to_text,
    ("Version",): _to_version,
    FILE_KEYS: _to_file,
    ("ModelType",): _to_model_type,
    ("ModelFormat",): _to_layout,
}
_CLASS_RULES: dict[str, Fix] = {"Value": _to_whole, "Name": _to_text, "Color": _to_color}
