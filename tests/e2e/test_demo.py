"""The demo does what the README says."""

import json
import re
import subprocess
from pathlib import Path

import geopandas as gpd
import rasterio

ROOT = Path(__file__).parents[2]


def test_demo(tmp_path):
    """The demo classifies one scene with two models, finds objects in another, judges them, and draws it all."""
    out = tmp_path / "demo"
    result = subprocess.run([ROOT / "scripts" / "demo", out], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    cogs = sorted(out.rglob("geodl-*/*/classification.tif"))
    assert [cog.parent.parent.name for cog in cogs] == ["geodl-landcover", "geodl-water"]
    assert re.search(r"Water .* %", result.stdout)
    assert result.stdout.count("1 item") == 2
    overall = re.search(r"^ overall +(?:\d+ +){4}(\d\.\d+) +(\d\.\d+)", result.stdout, flags=re.MULTILINE)
    assert overall
    assert min(map(float, overall.groups())) > 0.9
    found = gpd.read_parquet(next(out.rglob("geodl-harbour/*/detections.parquet")))
    assert set(found["class_name"]) == {"Ship", "Tank", "Car"}
    assert (out / "accuracy.html").stat().st_size > 10_000
    with rasterio.open(cogs[0]) as found, rasterio.open(out / "scene" / "truth.tif") as truth:
        classes, expected = found.read(1), truth.read(1)
    known = (expected != truth.nodata) & (classes != found.nodata)
    assert (classes == expected)[known].mean() >= 0.9
    with rasterio.Env(GDAL_PAM_ENABLED="NO"), rasterio.open(out / "demo.png") as picture:
        assert picture.count == 3
    item = json.loads(next(cogs[0].parent.glob("*.json")).read_text())
    assert item["properties"]["geodl:valid_percentage"] < 99
