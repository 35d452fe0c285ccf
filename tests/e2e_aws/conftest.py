"""Deployments of the real template, one for the tests of a module."""

import pytest

import deployed
import postgres
from emulator import launch
from networks import conv_network, write_emd
from perfect import write_detector, write_objects
from scenes import write_scene


@pytest.fixture(scope="session")
def server():
    with postgres.running() as running:
        yield running


@pytest.fixture(scope="module")
def database(server):
    """A database of its own without a schema, which deploying makes."""
    with postgres.database(server, "template0") as dsn:
        yield dsn


@pytest.fixture(scope="module")
def deploy(database, tmp_path_factory):
    """What deploys the template; at most once a module."""

    def deploy(**setup):
        parameters = setup.pop("parameters", {})
        return deployed.deployed(
            database, tmp_path_factory.mktemp("aws"), launch.Setup(**{"gpus": 2, "vcpus": 8, **setup}), **parameters
        )

    return deploy


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A scene and a model for pixels, and others for objects, as files."""
    folder = tmp_path_factory.mktemp("sources")
    pixels, objects = folder / "pixels", folder / "objects"
    for place in (pixels, objects):
        place.mkdir()
    write_scene(pixels)
    conv_network(pixels / "net.onnx")
    write_emd(pixels, ModelName="fields")
    write_objects(objects, [(20, 20, 60, 50, 0), (250, 200, 280, 240, 1), (300, 300, 330, 330, 2)], (400, 420))
    write_detector(objects, ModelName="ships")
    return {"fields": pixels, "ships": objects}
