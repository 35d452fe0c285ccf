"""On AWS, with everybody allowed everything: an Item published to the topic becomes Items of the STAC API."""

import json

import pytest

from deployed import ask, ended, geodl, local_files, publish, result_files, upload_scene

pytestmark = [pytest.mark.aws, pytest.mark.postgres, pytest.mark.xdist_group("aws-open")]
BANDS = {"fields": ["--band", "0=image:1", "--band", "1=image:2"], "ships": []}


@pytest.fixture(scope="module")
def stack(deploy):
    with deploy() as stack:
        yield stack


@pytest.fixture(scope="module")
def watched(stack, sources):
    """Both models in the bucket, each with a watch."""
    for name, folder in sources.items():
        geodl(stack, "model", "add", folder / "net.emd", "--store", f"s3://{stack.outputs['Bucket']}")
        geodl(stack, "watch", "add", watch_file(folder, name))
    return stack


def watch_file(folder, name, **more):
    """A watch in a file, as a user writes it."""
    watch = {"name": name, "model": name, "collections": [f"{name}-scenes"], **more}
    if name == "fields":
        watch["options"] = {"bands": {"0": "image:1", "1": "image:2"}}
    path = folder / "watch.json"
    path.write_text(json.dumps(watch))
    return path


@pytest.mark.parametrize("name", ["fields", "ships"])
def test_an_item_on_the_topic_becomes_an_item_of_the_api(watched, sources, tmp_path, name):
    """Pixels and objects: found through the STAC API, their files equal byte for byte to those of `geodl run`."""
    item = upload_scene(watched, sources[name] / "scene.json", f"one-of-{name}", f"{name}-scenes")
    publish(watched, item)
    (run,) = ended(watched, name)
    assert (run["state"], run["error"]) == ("succeeded", None)
    answer = ask(watched, "StacApi", f"/search?collections=geodl-{name}")
    (result,) = answer.document["features"]
    assert (answer.status, result["id"]) == (200, run["result"]["id"])
    assert result["properties"]["geodl:source"] == f"{name}-scenes/one-of-{name}"
    hrefs = [link["href"] for link in result["links"]] + [asset["href"] for asset in result["assets"].values()]
    assert all("://" in href for href in hrefs), hrefs
    here = local_files(watched, item, sources[name] / "net.emd", tmp_path / "here", *BANDS[name])
    assert result_files(watched, run["result"]) == here
