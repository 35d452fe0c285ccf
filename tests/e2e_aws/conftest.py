"""Deployments of the real template, one for the tests of a module, and one for all tests in which things go wrong."""

import json

import pytest

import containers
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

    def deploy(allowed="", **setup):
        folder = tmp_path_factory.mktemp("aws")
        return deployed.deployed(database, folder, launch.Setup(**{"gpus": 2, "vcpus": 8, **setup}), allowed)

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


@pytest.fixture(scope="session")
def box(tmp_path_factory):
    """Containers of jobs that can be hurt."""
    with containers.running(tmp_path_factory.mktemp("containers")) as running:
        yield running


@pytest.fixture(scope="session")
def jobs_images(box):
    """How images run that can be hurt."""
    return {pattern: box.image(image) for pattern, image in deployed.images({}).items()}


@pytest.fixture(scope="session")
def hurt(jobs_images, server, tmp_path_factory):
    """A deployment in which things go wrong, with a model and a watch for `meadows`; two GPUs.

    Step Functions waits a fifth of the time that the state machines say, before it tries something again.
    """
    folder = tmp_path_factory.mktemp("hurt")
    setup = launch.Setup(
        images=jobs_images, gpus=2, vcpus=8, functions=4, environment={"SFN_WAIT_SCALE": str(deployed.WAIT_SCALE)}
    )
    with postgres.database(server, "template0") as dsn, deployed.deployed(dsn, folder, setup) as stack:
        write_scene(folder, (128, 128))
        conv_network(folder / "net.onnx")
        emd = write_emd(folder, ModelName="fields")
        deployed.geodl(stack, "model", "add", emd, "--store", f"s3://{stack.outputs['Bucket']}")
        deployed.add_watch(stack, folder, "meadows")
        yield stack


@pytest.fixture(scope="session")
def meadow(hurt, tmp_path_factory):
    """What gives a scene of this name to be published; all show the same."""
    folder = tmp_path_factory.mktemp("meadow")
    write_scene(folder, (128, 128))
    item = json.dumps(deployed.upload_scene(hurt, folder / "scene.json", "meadow", "meadows"))
    return lambda name: {**json.loads(item), "id": name}


@pytest.fixture
def healed(box):
    """Leaves no fault to the next test."""
    yield box
    box.heal()
