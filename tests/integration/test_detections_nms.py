"""`geodl detections nms`: ArcGIS's Non Maximum Suppression on files of any origin."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from commands import geodl_here
from geodl_core.errors import DataError, InputError


def objects(count: int = 120, seed: int = 0, **columns) -> gpd.GeoDataFrame:
    """Return boxes and triangles of three classes on a projected grid."""
    chance = np.random.default_rng(seed)
    corners, sides = chance.uniform(0, 150, (count, 2)), chance.uniform(5, 30, (count, 2))
    low = corners + np.array([500_000, 5_300_000])
    high = low + sides
    boxes = shapely.box(*low.T, *high.T)
    triangles = shapely.polygons(np.stack([low, np.stack([high[:, 0], low[:, 1]], 1), high], axis=1))
    frame = gpd.GeoDataFrame(
        {
            "Confidence": chance.uniform(20, 100, count).round(3),
            "Class": chance.choice(["ship", "pier", "buoy"], count),
        },
        geometry=np.where(chance.random(count) < 0.5, boxes, triangles),
        crs="EPSG:32633",
    )
    return frame.assign(note=[f"object {row}" for row in range(count)], **columns)


def brute_force(frame: gpd.GeoDataFrame, ratio: float, scores, classes) -> list[str]:
    """Return the notes of what a greedy loop over all keeps."""
    kept: list[int] = []
    shapes = list(frame.geometry)
    for row in sorted(range(len(frame)), key=lambda row: -scores[row]):
        rivals = [other for other in kept if classes[other] == classes[row]]
        shared = [shapes[row].intersection(shapes[other]).area for other in rivals]
        whole = [shapes[row].area + shapes[other].area for other in rivals]
        if all(part / (both - part) <= ratio for part, both in zip(shared, whole, strict=True)):
            kept.append(row)
    return [frame["note"].iloc[row] for row in sorted(kept)]


def suppressed(path: Path, *options: object) -> gpd.GeoDataFrame:
    """Run the command and return what it wrote."""
    out = path.with_name(f"best{path.suffix}")
    result = geodl_here("detections", "nms", path, "--out", out, "--force", *options)
    assert result.returncode == 0, result.stderr
    return gpd.read_parquet(out) if out.suffix == ".parquet" else gpd.read_file(out)


def save(frame: gpd.GeoDataFrame, path: Path) -> Path:
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return path


@pytest.mark.parametrize("ratio", [0, 0.2, 0.6, 1])
@pytest.mark.parametrize("suffix", [".parquet", ".gpkg"])
def test_the_best_of_what_overlaps_stays(tmp_path: Path, suffix: str, ratio: float) -> None:
    """What stays is what a loop over all polygons with shapely keeps, with every field, in order, in the same CRS."""
    frame = objects()
    kept = suppressed(save(frame, tmp_path / f"all{suffix}"), "--max-overlap-ratio", ratio)
    assert kept["note"].tolist() == brute_force(frame, ratio, frame["Confidence"], frame["Class"])
    assert kept.crs == frame.crs
    wanted = frame.set_index("note").loc[kept["note"]].reset_index()
    assert kept[["Confidence", "Class", "note"]].equals(wanted[["Confidence", "Class", "note"]])
    assert shapely.equals(kept.geometry.to_numpy(), wanted.geometry.to_numpy()).all()


def test_by_default_any_overlap_suppresses(tmp_path: Path) -> None:
    """Nothing that stays shares area with another of its class; neighbours with an edge in common both stay."""
    grid = [shapely.box(x, 0, x + 10, 10) for x in (0, 10, 20)]
    frame = gpd.GeoDataFrame({"score": [0.5, 0.6, 0.7, 0.9]}, geometry=[*grid, shapely.box(29, 0, 35, 10)], crs=32633)
    assert suppressed(save(frame, tmp_path / "tiles.gpkg"))["score"].tolist() == [0.5, 0.6, 0.9]


@pytest.mark.parametrize(
    ("columns", "options", "label"),
    [
        ({"Classvalue": 1, "Value": 2}, (), "Classvalue"),
        ({"value": 1, "class_id": 2}, (), "value"),
        ({"class_id": 1, "class_name": "x"}, (), "class_id"),
        ({}, (), "Class"),
        ({"mine": 1}, ("--class-field", "mine"), "mine"),
    ],
)
def test_fields_are_found_as_arcgis_finds_them(tmp_path: Path, columns, options, label: str) -> None:
    """The class is Classvalue, else Value, else geodl's own; any field may be named."""
    frame = objects(60)
    for number, name in enumerate(columns):
        frame[name] = np.arange(60) % (number + 2)
    path = save(frame, tmp_path / "all.parquet")
    result = geodl_here("detections", "nms", path, *options)
    assert f"classes  {label}\n" in result.stdout
    kept = gpd.read_parquet(tmp_path / "all_nms.parquet")
    assert kept["note"].tolist() == brute_force(frame, 0, frame["Confidence"], frame[label])


def test_without_classes_all_are_one(tmp_path: Path) -> None:
    """A file without a field of classes is suppressed as one class; objects without a class are one of their own."""
    frame = objects(60)
    alone = frame.drop(columns="Class")
    kept = suppressed(save(alone, tmp_path / "alone.parquet"))
    assert kept["note"].tolist() == brute_force(frame, 0, frame["Confidence"], np.zeros(60))
    frame["Class"] = frame["Class"].where(frame["Class"] != "pier", None)
    kept = suppressed(save(frame, tmp_path / "some.parquet"))
    assert kept["note"].tolist() == brute_force(frame, 0, frame["Confidence"], frame["Class"].fillna("none"))


def test_scores_may_be_text(tmp_path: Path) -> None:
    """Scores such as "87.5" count as numbers, not as text: 100 is more than 87.5."""
    frame = objects(60, seed=2)
    scores = np.random.default_rng(1).permutation(60) * 2.5
    frame["Confidence"] = [f" {score:g}" for score in scores]
    kept = suppressed(save(frame, tmp_path / "text.gpkg"))
    assert kept["note"].tolist() == brute_force(frame, 0, scores, frame["Class"])


@pytest.mark.parametrize(("strange", "told"), [("high", "'high'"), (None, "none"), ("nan", "'nan'")])
def test_a_score_that_is_no_number_is_named(tmp_path: Path, strange, told: str) -> None:
    """The row of the first score that is no number is told, counted from 1, and what stands there."""
    frame = objects(9)
    frame["Confidence"] = frame["Confidence"].astype(str).astype(object)
    frame.loc[4, "Confidence"] = strange
    result = geodl_here("detections", "nms", save(frame, tmp_path / "odd.parquet"))
    assert result.returncode == InputError.exit_code
    assert f"row 5: Confidence: expected a number, found {told}" in result.stderr
    assert not (tmp_path / "odd_nms.parquet").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--score-field", "trust"), "expected a field trust, found Confidence, Class, note"),
        (("--class-field", "kind"), "expected a field kind"),
        (("--class-field", "geometry"), "expected a field geometry"),
        (("--max-overlap-ratio", "1.5"), "1.5 is not in the range"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path: Path, options, message: str) -> None:
    """Fields that do not exist and ratios outside 0 to 1 are refused."""
    result = geodl_here("detections", "nms", save(objects(5), tmp_path / "all.parquet"), *options)
    assert result.returncode == InputError.exit_code
    assert message in result.stderr


def test_a_file_without_scores_is_refused(tmp_path: Path) -> None:
    """The fields looked for are told."""
    result = geodl_here("detections", "nms", save(objects(5)[["Class", "geometry"]], tmp_path / "all.gpkg"))
    assert result.returncode == InputError.exit_code
    assert "expected a field Confidence or score, found none" in result.stderr


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    """A file that exists is replaced only with --force; a second run writes the same bytes."""
    path, out = save(objects(), tmp_path / "all.gpkg"), tmp_path / "all_nms.gpkg"
    assert geodl_here("detections", "nms", path).returncode == 0
    first = out.read_bytes()
    refused = geodl_here("detections", "nms", path)
    assert (refused.returncode, out.read_bytes()) == (InputError.exit_code, first)
    assert "--force" in refused.stderr
    assert geodl_here("detections", "nms", path, "--force").returncode == 0
    assert out.read_bytes() == first


def test_shapefiles_are_read_and_formats_changed(tmp_path: Path) -> None:
    """Of a Shapefile, which is not written, a GeoPackage is made; the suffix of the output says its format."""
    frame = objects(40)
    shp = save(frame, tmp_path / "arcgis.shp")
    assert geodl_here("detections", "nms", shp).returncode == 0
    kept = gpd.read_file(tmp_path / "arcgis_nms.gpkg")
    assert kept["note"].tolist() == brute_force(frame, 0, frame["Confidence"], frame["Class"])
    assert geodl_here("detections", "nms", shp, "--out", tmp_path / "best.geojson").returncode == 0
    assert gpd.read_file(tmp_path / "best.geojson")["note"].tolist() == kept["note"].tolist()


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """A missing file and a damaged one are one plain line each."""
    (tmp_path / "bad.gpkg").write_bytes(b"not a database")
    for name, error in (("none.gpkg", InputError), ("bad.gpkg", DataError)):
        result = geodl_here("detections", "nms", tmp_path / name)
        assert result.returncode == error.exit_code
        assert name in result.stderr
