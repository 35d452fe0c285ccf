"""What a finished run says of itself, whatever the model finds."""

from pathlib import Path
from typing import Any

import pytest

from geodl_core.cli.report import print_result
from geodl_core.cli.run import result_json
from geodl_core.cli.run_folder import _line
from geodl_core.engine.run_scene import RunResult


def entry(value: int, title: str, count: int, percentage: float) -> dict[str, Any]:
    return {"value": value, "title": title, "count": count, "percentage": percentage, "color_hint": "FF0000"}


def result_of(key: str, classes: list[dict[str, Any]], properties: dict[str, Any], *more: str) -> RunResult:
    names = {"classification": "classification.tif", "detections": "detections.parquet"}
    assets: dict[str, Any] = {
        key: {"href": f"./{names[key]}", "classification:classes": classes},
        "preview": {"href": "./preview.png"},
        "model": {"href": "./model.emd"},
        **{f"{key}_{name}": {"href": f"./{key}.{name}"} for name in more},
    }
    item = {"id": "scene_m_01234567", "collection": "geodl-m", "properties": properties, "assets": assets}
    return RunResult(item, Path("out/folder"), is_computed=True)


def detected(**properties: Any) -> RunResult:
    classes = [entry(1, "car", 1234, 97.0), entry(2, "truck", 0, 0.0), entry(3, "[b]us", 38, 3.0)]
    usual = {"geodl:detections": 1272, "geodl:largest_object_px": 44.5, "geodl:halo_px": 56}
    return result_of("detections", classes, {**usual, **properties}, "gpkg")


def test_objects(capsys: pytest.CaptureFixture[str]) -> None:
    """Of objects there are counts by class, the commonest first, their size, and every file of them."""
    print_result(detected(), "c.db")
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split()[1:4] for line in lines[1:3]]
    assert rows == [["1", "car", "1,234"], ["3", "[b]us", "38"]]
    assert "truck" not in "".join(lines)
    assert "found    1,272 objects, the largest 44.5 pixels long, halo 56" in lines
    assert not any(line.startswith("warning") for line in lines)
    for file in ("detections.parquet", "detections.gpkg"):
        assert f"objects  out/folder/{file}" in lines
    assert "preview  out/folder/preview.png" in lines
    assert "item     out/folder/scene_m_01234567.json" in lines


def test_objects_that_tiles_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Where objects are too large for the halo, a warning says so and what helps."""
    print_result(detected(**{"geodl:largest_object_px": 300, "geodl:cut_objects": 2}), "c.db")
    (warning,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("warning"))
    assert "2 were cut" in warning
    assert "--max-object 300px" in warning


def test_no_objects(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing was found, that is said."""
    result = result_of("detections", [entry(1, "car", 0, 0.0)], {"geodl:detections": 0, "geodl:largest_object_px": 0})
    print_result(result, "c.db")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "found    no objects"
    assert _line("a.tif", result) == "computed  a.tif: no objects; out/folder/detections.parquet"


def test_classes(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a class map there are shares and areas, with those that do not occur."""
    classes = [entry(1, "tree", 30, 25.0), entry(2, "water", 90, 75.0), entry(3, "ice", 0, 0.0)]
    result = result_of("classification", classes, {"geodl:pixel_area_m2": 1e6})
    print_result(result, "c.db")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:] for line in lines[1:4]] == [
        ["1", "tree", "30", "25.00", "%", "30.000"],
        ["2", "water", "90", "75.00", "%", "90.000"],
        ["3", "ice", "0", "0.00", "%", "0.000"],
    ]
    assert "classes  out/folder/classification.tif" in lines
    assert _line("a", result) == "computed  a: water 75.0 %, tree 25.0 %; out/folder/classification.tif"


def test_json() -> None:
    """For machines there are all classes with their counts, all assets, and of objects their number."""
    found = result_json(detected(), "c.db")
    assert [one["count"] for one in found["classes"]] == [1234, 0, 38]
    assert found["detections"] == 1272
    assert found["assets"]["detections_gpkg"] == "./detections.gpkg"
    classified = result_json(result_of("classification", [entry(1, "a", 3, 100.0)], {}), "c.db")
    assert "detections" not in classified
    assert classified["classes"][0]["count"] == 3


def test_line_of_objects() -> None:
    """In a line each, objects are counted."""
    assert _line("a.tif", detected()) == "computed  a.tif: 1,234 car, 38 [b]us; out/folder/detections.parquet"
