"""Access as a user meets it: settings, refusals, and no secrets in what is printed or kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from commands import geodl
from geodl_core.errors import InputError
from geodl_core.settings import Settings
from networks import conv_network, write_emd
from scenes import write_scene
from servers import FileServer

SECRET = "sig=S3CR3T%2Bvalue"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scene(tmp_path)
    conv_network(tmp_path / "net.onnx")
    write_emd(tmp_path)
    return tmp_path


def with_href(folder: Path, href: str, name: str = "remote.json") -> Path:
    item = json.loads((folder / "scene.json").read_text())
    item["assets"]["image"]["href"] = href
    (folder / name).write_text(json.dumps(item))
    return folder / name


def run(folder: Path, item: object, **env: str) -> Any:
    return geodl("run", item, "-m", folder / "net.emd", "-o", folder / "out", **env)


def host_of(files: FileServer) -> str:
    return files.url().split("/")[2]


def test_service_mode_runs_a_public_scene(folder: Path) -> None:
    """With its server allowed, a scene runs in service mode, NO_PROXY or not, and gives what it gives without."""
    with FileServer(folder) as files:
        item = with_href(folder, files.url("scene.tif"))
        plain = run(folder, item)
        assert plain.returncode == 0, plain.stderr
        classes = next(folder.glob("out/*/*/classification.tif")).read_bytes()
        env = {"GEODL_SERVICE": "1", "GEODL_ALLOW_HOSTS": host_of(files), "NO_PROXY": "*"}
        again = geodl("run", item, "-m", folder / "net.emd", "-o", folder / "service", "--json", **env)
        assert again.returncode == 0, again.stderr
        assert next(folder.glob("service/*/*/classification.tif")).read_bytes() == classes


@pytest.mark.parametrize("environment", [{}, {"NO_PROXY": "*"}, {"no_proxy": "127.0.0.1"}])
def test_service_mode_refuses_this_machine(folder: Path, environment: dict[str, str]) -> None:
    """Without leave, a server on this machine is not asked, whatever the environment says of proxies; exit code 2."""
    with FileServer(folder) as files:
        found = run(folder, with_href(folder, files.url("scene.tif")), GEODL_SERVICE="1", **environment)
        assert found.returncode == 2
        assert "refused" in found.stderr
        assert "GEODL_ALLOW_HOSTS" in found.stderr
        assert not files.requests
        remote = run(folder, files.url("scene.json"), GEODL_SERVICE="1", **environment)
        assert remote.returncode == 2
        assert not files.requests


@pytest.mark.parametrize(
    "href", ["/etc/hostname", "/vsicurl/http://127.0.0.1/x.tif", "<VRTDataset/>", "file:///etc/hostname"]
)
def test_service_mode_refuses_other_names(folder: Path, href: str) -> None:
    """An Item's href that is no public URL is refused; exit code 2."""
    found = run(folder, with_href(folder, href), GEODL_SERVICE="1")
    assert (found.returncode, "expected the URL of a public file" in found.stderr) == (2, True)


@pytest.mark.parametrize("name", ["scene.tif", "/vsizip//etc/x.zip/y.tif", "NETCDF:/etc/hostname:x"])
def test_items_from_elsewhere_do_not_name_files_of_this_machine(folder: Path, name: str) -> None:
    """Outside of service mode too, an Item from a server names no file of this machine."""
    href = str(folder / name) if name == "scene.tif" else name
    with_href(folder, href, "evil.json")
    with FileServer(folder) as files:
        found = run(folder, files.url("evil.json"))
    assert found.returncode in (2, 75)
    assert "computed" not in found.stdout
    assert not list(folder.glob("out/*/*/classification.tif"))


@pytest.mark.parametrize("status", [403, 500])
def test_signed_hrefs_are_not_shown(folder: Path, status: int) -> None:
    """A signed href that fails, at once or half way, is shown without its signature, with GEODL_DEBUG too."""
    with FileServer(folder) as files:
        item = with_href(folder, f"http://user:S3CR3T@{host_of(files)}/scene.tif?{SECRET}")
        for after in (0, 3):
            files.fail("/scene.tif", status, after=after)
            found = run(folder, item, GEODL_DEBUG="1")
            assert found.returncode != 0
            assert "S3CR3T" not in found.stdout + found.stderr
            files.heal()
        shown = run(folder, files.url(f"none.json?{SECRET}"))
        assert "S3CR3T" not in shown.stdout + shown.stderr


def test_signed_hrefs_are_not_in_results(folder: Path) -> None:
    """A scene read by signed hrefs has the job id that it has by others, and leaves no signature behind."""
    with FileServer(folder) as files:
        item = with_href(folder, files.url(f"scene.tif?{SECRET}"))
        (folder / "item.json").write_text(item.read_text())
        first = geodl("run", files.url(f"item.json?{SECRET}"), "-m", folder / "net.emd", "-o", folder / "out", "--json")
        assert first.returncode == 0, first.stderr
        bare = geodl(
            "run", with_href(folder, files.url("scene.tif")), "-m", folder / "net.emd", "-o", folder / "out", "--json"
        )
        assert json.loads(bare.stdout)["id"] == json.loads(first.stdout)["id"]
        assert json.loads(bare.stdout)["status"] == "present"
    for path in (path for path in (folder / "out").rglob("*") if path.is_file()):
        assert b"S3CR3T" not in path.read_bytes(), path


def test_settings_of_access() -> None:
    """Each variable says what it says; what is no host is an error of the user's."""
    env = {"GEODL_SERVICE": "yes", "GEODL_ALLOW_HOSTS": "a.b:8080", "GEODL_ASSET_SCHEMES": "S3, https"}
    env |= {
        "GEODL_REQUESTER_PAYS": "1",
        "GEODL_ANONYMOUS": "0",
        "GEODL_PC_KEY": "K",
        "AWS_ENDPOINT_URL": "http://m:9000/",
    }
    access = Settings.from_env(env).access
    assert (access.is_service, access.pays, access.is_anonymous) == (True, True, False)
    assert access.schemes == ("s3", "https")
    assert access.allowed_hosts.names == {("a.b", 8080)}
    assert dict(access.gdal) == {"AWS_S3_ENDPOINT": "m:9000", "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE"}
    assert access.signing_key == "K"
    with pytest.raises(InputError, match="allowed hosts"):
        Settings.from_env({"GEODL_ALLOW_HOSTS": "http://x"})
