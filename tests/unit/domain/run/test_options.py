"""Options of a run as a document."""

import json

import click
import pytest

from geodl_core.cli.job_options import JOB_OPTIONS
from geodl_core.domain.run.options import RunOptions, command_options, options_json, read_options
from geodl_core.errors import InputError

FULL = {
    "arguments": {"threshold": 0.5, "return_bboxes": True, "batch_size": 4, "merge_policy": "max"},
    "bands": {"red": "B04"},
    "masks": {"scl": [3, "cloud"]},
    "aoi": "5,50,6,51",
    "pad": "reflect",
    "radiometry": "reflectance",
    "source_range": [0, 0.5],
    "cell_size": "10",
    "crs": "EPSG:32633",
    "snap": "https://example.com/a.tif",
    "resampling": "cubic",
    "max_object": "40m",
    "formats": ["gpkg"],
    "compress": "zstd",
    "precision": "fp16",
    "tile_memory": 1 << 28,
    "shards": 4,
    "strict": True,
}


def test_a_document_comes_back_as_it_was():
    """What options say is a document that says the same when it is read again, and JSON throughout."""
    options = read_options(FULL, "here")
    document = json.loads(json.dumps(options_json(options)))
    assert read_options(document, "here") == options
    assert options_json(read_options(document, "here")) == document
    assert set(document) == set(FULL)


def test_nothing_said_is_nothing_written():
    """Options that are not given do not appear."""
    assert options_json(read_options(None, "here")) == options_json(RunOptions()) == {}


def test_every_option_of_a_job_has_its_value():
    """A document gives the command line's reader a value for each option that it looks at."""
    names = {name for option in JOB_OPTIONS for name in [_name(option)]}
    given = command_options(read_options(FULL, "here"))
    assert set(given) <= names | {"tile_memory", "shards", "strict", "mosaic"}
    assert given["arguments"] == ("threshold=0.5", "return_bboxes=true", "batch_size=4", "merge_policy=max")
    assert given["bands"] == ("red=B04",)
    assert given["masks"] == ("scl=3,cloud",)
    assert given["source_range"] == "0.0,0.5"


def _name(option):
    @click.command()
    @option
    def command(**_):
        pass

    return command.params[0].name


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"colour": 1}, "colour"),
        ({"pad": "mirror"}, "pad"),
        ({"arguments": {"a=b": 1}}, "arguments"),
        ({"arguments": {"a": None}}, "arguments.a"),
        ({"shards": 0}, "shards"),
        ({"snap": "/etc/passwd"}, "snap"),
        ({"snap": "/vsicurl/http://x"}, "snap"),
        ({"aoi": "here"}, "aoi"),
        ({"aoi": {"type": "Polygon"}}, "aoi"),
        ({"tile_memory": 1}, "tile_memory"),
        ([], "here"),
        ("x", "here"),
    ],
)
def test_what_is_wrong_is_named(document, said):
    """An option that there is not, or outside its domain, is refused by its name."""
    with pytest.raises(InputError, match=said):
        read_options(document, "here")
