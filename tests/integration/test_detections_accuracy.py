"""`geodl detections accuracy` on files: what is read, what is refused, what is written."""

import contextlib
import csv
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from commands import geodl_here

UTM = "EPSG:32633"
EAST, NORTH = 400_000.0, 5_300_000.0


def squares(count, side=10.0):
    """Squares on a line, far apart."""
    left = EAST + np.arange(count) * 50
    return shapely.box(left, NORTH, left + side, NORTH + side)


def frame(shapes, crs=UTM, **columns):
    return gpd.GeoDataFrame(columns, index=range(len(shapes)), geometry=list(shapes), crs=crs)


@pytest.fixture
def files(tmp_path):
    """Four objects of two classes; detections: two right, one of the wrong class, one nowhere."""
    truth, found = tmp_path / "truth.gpkg", tmp_path / "found.gpkg"
    places = squares(5)
    frame(places[:4], kind=[1, 2, 3, 4], Class=["car", "car", "ship", "ship"]).to_file(truth)
    frame(
        shapely.transform(places[[0, 1, 2, 4]], lambda points: points + np.array([1, 0])),
        Class=["car", "car", "car", "ship"],
        Confidence=[0.9, 0.8, 0.7, 0.6],
    ).to_file(found)
    return truth, found


def judged(truth, found, *options):
    result = geodl_here("detections", "accuracy", truth, found, "--json", *options)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def refused(truth, found, *options):
    result = geodl_here("detections", "accuracy", truth, found, *options)
    assert result.returncode == 2, (result.stdout, result.stderr)
    return result.stderr


def counts(document, name="overall"):
    part = next(each for each in (document["overall"], *document["classes"]) if each["name"] == name)
    return part["true_positives"], part["false_positives"], part["false_negatives"]


def by_coco(truth, found, scores):
    """AP at 0.5 and mAP of one class, by pycocotools."""

    def coco(boxes, **more):
        base = COCO()
        base.dataset = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "one"}], "annotations": []}
        for row, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
            sides = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
            own = {key: values[row] for key, values in more.items()}
            base.dataset["annotations"].append(
                {"id": row + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, **sides, **own}
            )
        base.createIndex()
        return base

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco(truth), coco(found, score=scores.tolist()), "bbox")
        evaluation.params.maxDets = [len(found)]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]
    return precision[0].mean(), precision.mean()


def perturbed(truth, seed=3):
    """Detections made of the truth: some missed, all shifted, some false."""
    random = np.random.default_rng(seed)
    boxes = shapely.bounds(truth.geometry.array)
    kept = boxes[random.random(len(boxes)) < 0.85]
    false = boxes[:15] + random.uniform(-8, 8, (15, 1))
    boxes = np.concatenate([kept + random.normal(0, 0.35, kept.shape), false])
    return frame(shapely.box(*boxes.T), truth.crs, Class="vehicle", Confidence=random.random(len(boxes)))


@pytest.mark.shared
def test_cars_of_manila_are_judged_as_by_pycocotools(shared, tmp_path):
    """On real labels and detections made of them, AP and mAP are those of pycocotools."""
    labels = shared / "data" / "oam_manila_cars" / "cars.geojson"
    truth = gpd.read_file(labels)
    detections = perturbed(truth)
    detections.to_parquet(tmp_path / "found.parquet")
    document = judged(labels, tmp_path / "found.parquet")
    found = shapely.bounds(detections.geometry.array)
    ap, mean_ap = by_coco(shapely.bounds(truth.geometry.array), found, detections["Confidence"])
    assert document["overall"]["ap"] == pytest.approx(ap, abs=1e-6)
    assert document["overall"]["map"] == pytest.approx(mean_ap, abs=1e-6)
    assert 0.4 < document["overall"]["ap"] < 0.95
    assert document["compared"]["classes"] == "Class of the detections, label of the truth"


@pytest.mark.shared
def test_labels_are_all_right_about_themselves(shared):
    """The truth, taken as detections, has 1 everywhere, and it is said that it has no scores."""
    labels = shared / "data" / "oam_manila_cars" / "cars.geojson"
    document = judged(labels, labels, "--iou", "polygon", "--min-iou", 1)
    overall = document["overall"]
    assert [overall[name] for name in ("precision", "recall", "f1", "ap", "map")] == [1.0] * 5
    assert counts(document, "vehicle") == (len(gpd.read_file(labels)), 0, 0)
    assert document["notes"] == ["no field of scores in the detections: all count alike"]


def test_each_object_counts_once(files):
    """Two found, one found as another class, one nowhere, one missed: counts, shares and the table of mix-ups."""
    document = judged(*files)
    assert counts(document) == (2, 2, 2)
    assert counts(document, "car") == (2, 1, 0)
    assert counts(document, "ship") == (0, 1, 2)
    assert document["overall"]["precision"] == document["overall"]["recall"] == 0.5
    assert document["overall"]["best"] == {"threshold": 0.8, "precision": 1.0, "recall": 0.5, "f1": 2 / 3}
    assert [tuple(cell.values()) for cell in document["found_as"]] == [
        ("car", "car", 2),
        ("ship", "car", 1),
        ("ship", None, 1),
        (None, "ship", 1),
    ]
    assert counts(judged(*files, "--threshold", 0.75)) == (2, 0, 2)
    assert counts(judged(*files, "--min-iou", 0.85)) == (0, 4, 4)
    assert counts(judged(*files, "--one-class")) == (3, 1, 1)


def test_people_get_a_table(files):
    """Without --json the same is a table, with what was compared above it and what was mixed up below."""
    lines = geodl_here("detections", "accuracy", *files).stdout.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert rows["truth"] == ["truth.gpkg:", "4", "objects"]
    assert rows["car"][:7] == ["2", "2", "1", "0", "0.667", "1.000", "0.800"]
    assert rows["ship"][:7] == ["2", "0", "1", "2", "0.000", "0.000", "0.000"]
    assert rows["overall"][:7] == ["4", "2", "2", "2", "0.500", "0.500", "0.500"]
    assert rows["mixed"] == ["up", "1", "ship", "found", "as", "car"]


def test_the_table_is_that_of_arcgis(files, tmp_path):
    """--table has ArcGIS's fields, a row for each class and one overall."""
    table = tmp_path / "table.csv"
    document = judged(*files, "--table", table)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert list(rows[0]) == [
        *("Class", "Precision", "Recall", "F1_Score", "AP"),
        *("True_Positive", "False_Positive", "False_Negative"),
    ]
    for row, part in zip(rows, (*document["classes"], document["overall"]), strict=True):
        assert row["Class"].lower() == part["name"]
        assert [float(row[name]) for name in ("Precision", "Recall", "F1_Score", "AP")] == [
            part[name] for name in ("precision", "recall", "f1", "ap")
        ]
        numbers = tuple(int(row[name]) for name in ("True_Positive", "False_Positive", "False_Negative"))
        assert numbers == counts(document, part["name"])


class Page(HTMLParser):
    """What a page holds; fails where tags are not closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_report_is_a_page_of_its_own(files, tmp_path):
    """--out is well-formed HTML that asks for nothing else; names from files stay text; numbers are in it."""
    evil = "<script>alert('x')</script>&\"quoted\""
    truth, found = (gpd.read_file(path) for path in files)
    truth["Class"] = truth["Class"].replace("ship", evil)
    found["Class"] = found["Class"].replace("ship", evil)
    for path, each in zip(files, (truth, found), strict=True):
        each.to_file(path)
    report = tmp_path / "report.html"
    document = judged(*files, "--out", report)
    text = report.read_text()
    for drawing in re.findall(r"<svg.*?</svg>", text, flags=re.S):
        assert len(list(ET.fromstring(drawing))) > 20
    page = Page(re.sub(r"<svg.*?</svg>", "<svg></svg>", text, flags=re.S))
    assert page.tags.count("svg") == 3
    assert "script" not in page.tags
    assert not {name for name, _ in page.attributes} & {"src", "href", "onload", "onclick"}
    assert "url(" not in text
    assert "@import" not in text
    assert "//" not in text
    assert evil in page.words
    assert f"{document['overall']['f1']:.3f}" in page.words
    assert str(tmp_path) not in text


def test_a_report_of_very_many_classes_stays_readable(tmp_path):
    """Of more classes than fit in a square the most frequent mix-ups are listed."""
    places = squares(60)
    names = [f"class {index:02}" for index in range(60)]
    frame(places, Class=names).to_file(tmp_path / "truth.gpkg")
    frame(places, Class=names[1:] + names[:1], score=0.5).to_file(tmp_path / "found.gpkg")
    judged(tmp_path / "truth.gpkg", tmp_path / "found.gpkg", "--out", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "The 50 most frequent of 60." in text
    assert "<tr><td>class 07</td><td>class 08</td><td>1</td></tr>" in text


def test_same_files_give_the_same_bytes(files, tmp_path):
    """Report, table and JSON do not depend on folder or time."""
    texts = []
    for place in ("a", "b"):
        folder = tmp_path / place
        folder.mkdir()
        copies = [folder / path.name for path in files]
        for path, copy in zip(files, copies, strict=True):
            copy.write_bytes(path.read_bytes())
        document = judged(*copies, "--out", folder / "r.html", "--table", folder / "t.csv")
        texts.append((document, (folder / "r.html").read_bytes(), (folder / "t.csv").read_bytes()))
    assert texts[0] == texts[1]


def test_existing_files_are_kept(files, tmp_path):
    """A report or table that exists is replaced only with --force, and nothing else is written then."""
    report, table = tmp_path / "r.html", tmp_path / "t.csv"
    table.write_text("mine")
    assert "exists" in refused(*files, "--out", report, "--table", table)
    assert table.read_text() == "mine"
    assert not report.exists()
    judged(*files, "--out", report, "--table", table, "--force")
    assert table.read_text().startswith("Class,")
    assert "two files" in refused(*files, "--out", report, "--table", report, "--force")


def test_only_what_lies_within_counts(files, tmp_path):
    """--within leaves out truth and detections that intersect no feature of a file, whatever its CRS."""
    mask = tmp_path / "mask.geojson"
    frame([shapely.box(EAST - 5, NORTH - 5, EAST + 105, NORTH + 30)]).to_crs(4326).to_file(mask)
    document = judged(*files, "--within", mask)
    assert counts(document) == (2, 1, 1)
    assert document["compared"]["truth"] == "truth.gpkg: 3 of 4 objects"
    edge = tmp_path / "edge.gpkg"
    frame([shapely.LineString([(EAST + 10.5, NORTH), (EAST + 10.5, NORTH + 10)])]).to_file(edge)
    assert counts(judged(*files, "--within", edge)) == (0, 1, 0)
    (tmp_path / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    assert "within which" in refused(*files, "--within", tmp_path / "none.geojson")


def test_truth_in_another_crs_is_brought_to_the_detections(files, tmp_path):
    """Where the two files have different CRS, results are those of the same CRS."""
    truth = tmp_path / "truth.geojson"
    gpd.read_file(files[0]).to_crs(4326).to_file(truth)
    expected = judged(*files, "--iou", "polygon")
    moved = judged(truth, files[1], "--iou", "polygon")
    assert {**moved, "compared": None} == {**expected, "compared": None}
    assert moved["compared"]["crs"].startswith(UTM)
    assert judged(*files, "--crs", "EPSG:3857", "--iou", "polygon")["overall"] == expected["overall"]
    assert "such as EPSG" in refused(*files, "--crs", "mercator")


def test_a_crs_is_there_in_both_files_or_in_none(files, tmp_path):
    """Pixels are compared with pixels; a file without a CRS is not compared with one that has it."""
    bare = []
    for path in files:
        pixels = gpd.read_file(path).set_crs(None, allow_override=True)
        bare.append(tmp_path / f"{path.stem}.parquet")
        pixels.to_parquet(bare[-1])
    assert counts(judged(*bare)) == (2, 2, 2)
    assert "expected a CRS" in refused(bare[0], files[1])
    assert "expected no CRS" in refused(*bare, "--within", files[0])
    assert "no CRS to come from" in refused(*bare, "--crs", UTM)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
def test_points_become_circles_on_the_ground(tmp_path, crs):
    """--buffer makes circles of so many metres of the truth's points, in any CRS, Mercator at 60° north too."""
    points = frame(shapely.points([(500_000, 6_650_000), (500_100, 6_650_000)]))
    circles = frame(points.buffer(12.0 * 0.9996), score=1.0)  # what UTM shrinks at its middle
    points.to_crs(crs).to_file(tmp_path / "truth.gpkg")
    circles.to_crs(crs).to_parquet(tmp_path / "found.parquet")
    files = tmp_path / "truth.gpkg", tmp_path / "found.parquet"
    assert counts(judged(*files, "--buffer", 12, "--iou", "polygon", "--min-iou", 0.99)) == (2, 0, 0)
    assert counts(judged(*files, "--buffer", 11, "--iou", "polygon", "--min-iou", 0.9)) == (0, 2, 2)
    hint = refused(*files)
    assert "a point first" in hint
    assert "--buffer" in hint


def test_points_without_crs_become_circles_in_their_units(tmp_path):
    """Without a CRS a radius is in the units of the coordinates."""
    frame(shapely.points([(50, 50)]), None).to_parquet(tmp_path / "truth.parquet")
    frame([shapely.box(40, 40, 60, 60)], None).to_parquet(tmp_path / "found.parquet")
    files = tmp_path / "truth.parquet", tmp_path / "found.parquet"
    assert counts(judged(*files, "--buffer", 10, "--min-iou", 0.99)) == (1, 0, 0)
    assert "above 0" in refused(*files, "--buffer", 0)


def test_lines_and_detected_points_are_refused(files, tmp_path):
    """What has no area is not compared; points of detections are not buffered."""
    lines = tmp_path / "lines.gpkg"
    frame([shapely.LineString([(EAST, NORTH), (EAST, NORTH + 5)])], Class="car").to_file(lines)
    assert "a line string first" in refused(lines, files[1], "--buffer", 3)
    points = tmp_path / "points.gpkg"
    frame([shapely.Point(EAST, NORTH)], Class="car").to_file(points)
    message = refused(files[0], points, "--buffer", 3)
    assert "found 1 of 1 features to be none, a point first" in message
    assert "--buffer" not in message


def test_broken_shapes_do_no_harm(tmp_path):
    """Bow ties are repaired, features without geometry left out, polygons without area are false detections."""
    bow = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    flat = shapely.Polygon([(0, 0), (5, 0), (9, 0)])
    frame([bow, None, shapely.Polygon()], None, Class="a").to_parquet(tmp_path / "truth.parquet")
    frame([bow, flat], None, Class="a", score=[0.5, 0.9]).to_parquet(tmp_path / "found.parquet")
    files = tmp_path / "truth.parquet", tmp_path / "found.parquet"
    document = judged(*files, "--iou", "polygon", "--min-iou", 0.999)
    assert counts(document) == (1, 1, 0)
    assert document["notes"] == ["2 features of the truth without geometry left out"]
    assert counts(judged(*files)) == (1, 1, 0)


def test_heights_are_ignored(tmp_path):
    """Polygons with heights are compared from above."""
    flat = shapely.box(0, 0, 10, 10)
    frame([shapely.force_3d(flat, 100.0)], None).to_parquet(tmp_path / "truth.parquet")
    frame([flat], None, score=1.0).to_parquet(tmp_path / "found.parquet")
    files = tmp_path / "truth.parquet", tmp_path / "found.parquet"
    assert counts(judged(*files, "--iou", "polygon")) == (1, 0, 0)


def test_nothing_found_and_nothing_there(files, tmp_path):
    """Empty files are compared: shares that nothing defines are null in JSON, a dash for people, empty in the table."""
    empty = tmp_path / "empty.geojson"
    empty.write_text('{"type": "FeatureCollection", "features": []}')
    table, report = tmp_path / "t.csv", tmp_path / "r.html"
    missed = judged(files[0], empty, "--out", report)
    assert counts(missed) == (0, 0, 4)
    assert [missed["overall"][name] for name in ("precision", "recall", "ap", "best")] == [None, 0.0, 0.0, None]
    assert [each["name"] for each in missed["classes"]] == ["car", "ship"]
    false = judged(empty, files[1], "--table", table, "--out", report, "--force")
    assert [false["overall"][name] for name in ("precision", "recall", "ap", "map")] == [0.0, None, None, None]
    assert table.read_text().splitlines()[-1] == "Overall,0.000000,,0.000000,,0,4,0"
    both = judged(empty, empty, "--out", report, "--force")
    assert [both["overall"][name] for name in ("precision", "recall", "f1", "ap")] == [None] * 4
    assert "–" in geodl_here("detections", "accuracy", empty, empty).stdout


def test_class_fields_are_those_with_values_in_common(tmp_path):
    """Of several fields the pair with common values is taken, whole numbers being what they are in any type."""
    shapes = squares(2)
    truth, found = tmp_path / "truth.parquet", tmp_path / "found.parquet"
    frame(shapes, Class=["Auto", "Schiff"], class_id=[1.0, 2.0]).to_parquet(truth)
    frame(shapes, class_name=["car", "ship"], Classvalue=["1", "2"], score=[0.5, 0.6]).to_parquet(found)
    document = judged(truth, found)
    assert document["compared"]["classes"] == "Classvalue of the detections, class_id of the truth"
    assert [each["name"] for each in document["classes"]] == ["1", "2"]
    assert counts(document) == (2, 0, 0)
    words = ("--class-field", "class_name", "--truth-class-field", "class")
    assert counts(judged(truth, found, *words)) == (0, 2, 2)
    same = ("--same-class", "car=Auto", "--same-class", "ship=Schiff")
    assert counts(judged(truth, found, *words, *same), "Auto") == (1, 0, 0)
    assert "expected FOUND=TRUTH" in refused(truth, found, "--same-class", "car")
    assert "no other option" in refused(truth, found, "--one-class", "--class-field", "class_name")


def test_classes_that_never_meet_are_refused(files, tmp_path):
    """Where no class is in both files the message names classes of both, and the ways out."""
    other = tmp_path / "found.parquet"
    gpd.read_file(files[1]).replace({"Class": {"car": "truck", "ship": "barge"}}).to_parquet(other)
    message = refused(files[0], other)
    for word in ("barge, truck", "car, ship", "--same-class", "--one-class"):
        assert word in message
    document = judged(files[0], other, "--same-class", "truck=car")
    assert document["notes"] == ["only in the detections: barge", "only in the truth: ship"]
    assert document["compared"]["classes"] == "Class"


def test_classes_may_be_categories(files, tmp_path):
    """Columns of categories, as GeoParquet holds them, are read as their values."""
    copies = []
    for path in files:
        copies.append(tmp_path / f"{path.stem}.parquet")
        gpd.read_file(path).astype({"Class": "category"}).to_parquet(copies[-1])
    assert judged(*copies)["classes"] == judged(*files)["classes"]


def test_numbers_of_classes_are_in_order(tmp_path):
    """Class 10 follows class 9."""
    shapes = squares(3)
    frame(shapes, Value=[10, 9, 100]).to_parquet(tmp_path / "truth.parquet")
    frame(shapes, Value=[10, 9, 100], score=1.0).to_parquet(tmp_path / "found.parquet")
    document = judged(tmp_path / "truth.parquet", tmp_path / "found.parquet")
    assert [each["name"] for each in document["classes"]] == ["9", "10", "100"]


def test_a_file_without_classes_makes_one_class(files, tmp_path):
    """Where one file has no field of classes, all objects are one class, and this is said."""
    bare = tmp_path / "bare.gpkg"
    gpd.read_file(files[0])[["geometry"]].to_file(bare)
    document = judged(bare, files[1])
    assert document["notes"] == ["no field of classes in the truth: all objects are one class"]
    assert counts(document, "object") == (3, 1, 1)
    assert "--one-class" in refused(bare, files[1], "--class-field", "Class")
    assert "expected the field species, found kind, Class" in refused(*files, "--truth-class-field", "species")


def test_gaps_in_classes_and_scores_are_refused(files, tmp_path):
    """An object without class, a score that is no number: the message says how many, and in which field."""
    truth, found = gpd.read_file(files[0]), gpd.read_file(files[1])
    truth.loc[2, "Class"] = None
    truth.to_file(tmp_path / "gap.gpkg")
    assert "expected a class in Class of each feature, found 1 without" in refused(tmp_path / "gap.gpkg", files[1])
    found.loc[1, "Confidence"] = np.nan
    found["words"] = "high"
    found["text"] = ["0.9", "0.8", "0.7", "0.6"]
    found.to_file(tmp_path / "nan.gpkg")
    bad = tmp_path / "nan.gpkg"
    assert "a number in Confidence of each detection, found 1 without" in refused(files[0], bad)
    assert "expected numbers in words" in refused(files[0], bad, "--score-field", "words")
    assert judged(files[0], bad, "--score-field", "text")["overall"] == judged(*files)["overall"]
    assert "expected the field sc" in refused(files[0], bad, "--score-field", "sc")


def test_scores_may_be_of_any_scale(files, tmp_path):
    """Confidences of 0–100, as ArcGIS has them, give the same; thresholds are in their unit."""
    found = gpd.read_file(files[1])
    found["Confidence"] *= 100
    found.to_file(tmp_path / "percent.gpkg")
    percent = tmp_path / "percent.gpkg"
    document = judged(files[0], percent, "--out", tmp_path / "r.html")
    assert document["overall"]["best"]["threshold"] == 80
    assert document["overall"]["ap"] == judged(*files)["overall"]["ap"]
    assert counts(judged(files[0], percent, "--threshold", 75)) == (2, 0, 2)


@pytest.mark.parametrize("least", ["0", "-1", "1.5"])
def test_a_least_iou_lies_between_0_and_1(files, least):
    """Other limits are refused before anything is read."""
    assert "--min-iou" in refused(*files, "--min-iou", least)
