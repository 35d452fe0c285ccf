"""`geodl model init`, `inspect`, `validate`, `edit` and `pack`, and `geodl run --help-model`, as a user types them."""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import rasterio
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from geodl_core.cli.main import geodl, guarded
from geodl_core.errors import GeodlError, InputError, ModelError
from geodl_core.io.package.package import load_package
from networks import conv_network, run_whole, save, write_emd
from scenes import write_scene


def invoke(*arguments: object) -> Result:
    """Run a command in this process; errors of geodl come out as they are."""
    return CliRunner().invoke(geodl, [str(argument) for argument in arguments], catch_exceptions=False)


def run(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def exit_code(*arguments: object) -> int:
    """Return what the process would exit with; its words go to standard error."""
    words = [str(argument) for argument in arguments]
    return guarded(lambda: geodl.main(words, prog_name="geodl", standalone_mode=False))


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A network of two bands and three classes."""
    return conv_network(tmp_path / "net.onnx")


@pytest.fixture
def emd(net: Path) -> Path:
    """A definition of that network."""
    return write_emd(net.parent)


def document_of(path: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads(path.read_text())
    return document


# init


def test_init_writes_a_definition_that_runs(net: Path) -> None:
    """The definition that `init` writes needs no repair and runs as it is, with the halo that the graph tells."""
    output = run("model", "init", net)
    emd = net.with_suffix(".emd")
    assert f"wrote {emd}" in output
    assert load_package(str(emd), is_strict=True).emd.Padding == 4
    assert "runs: scores of 3 classes from 2 bands" in run("model", "validate", emd, "--strict")
    item, pixels = write_scene(net.parent, (150, 200))
    out = net.parent / "out"
    result = json.loads(run("run", item, "--model", emd, "--out", out, "--json"))
    with rasterio.open(Path(result["folder"]) / result["assets"]["classification"]) as dataset:
        found, valid = dataset.read(1), dataset.read_masks(1) > 0
    assert valid.any()
    assert (found == run_whole(net, pixels))[valid].mean() > 0.999


def test_init_asks_what_the_graph_cannot_tell(net: Path) -> None:
    """Open questions are printed with the option that answers them; answered ones are not."""
    output = run("model", "init", net)
    for option in ("--bands", "--class", "--data-range"):
        assert option in output
    classes = ("--class", "1:Water:#4169E1", "--class", "2:Forest & Wald", "--class", "-3:Town")
    output = run("model", "init", net, "--force", "--bands", "Red, 3", "--data-range", "0,1", *classes)
    assert not [line for line in output.splitlines() if line.startswith("open")]
    document = document_of(net.with_suffix(".emd"))
    assert document["ExtractBands"] == ["Red", 3]
    assert document["DataRange"] == [0, 1]
    entries = document["Classes"]
    assert isinstance(entries, list)
    assert [(entry["Value"], entry["Name"]) for entry in entries] == [(1, "Water"), (2, "Forest & Wald"), (-3, "Town")]
    assert entries[0]["Color"] == [0x41, 0x69, 0xE1]
    assert all(len(entry["Color"]) == 3 for entry in entries)


def test_init_takes_all_that_is_said(net: Path) -> None:
    """Every option of `init` ends up in its key."""
    options = {
        "--name": "Roads", "--version": "2026.11", "--description": "of Austria", "--padding": 12,
        "--tile-size": 128, "--threshold": 0.25, "--layout": "NCHW", "--output": net.parent / "sub" / "r.emd",
    }  # fmt: skip
    (net.parent / "sub").mkdir()
    run("model", "init", net, *(word for pair in options.items() for word in pair))
    document = document_of(net.parent / "sub" / "r.emd")
    keys = ("ModelName", "Version", "Description", "Padding", "ImageHeight", "ImageWidth", "Threshold", "ModelFormat")
    assert [document[key] for key in keys] == ["Roads", "2026.11", "of Austria", 12, 128, 128, 0.25, "NCHW"]


def test_init_elsewhere_still_runs(net: Path) -> None:
    """A definition that is written into another folder than its network's finds it."""
    (net.parent / "sub").mkdir()
    run("model", "init", net, "-o", net.parent / "sub" / "net.emd")
    run("model", "validate", net.parent / "sub" / "net.emd")


def test_init_refuses_to_overwrite(net: Path) -> None:
    """A definition that exists stays, with exit code 2 and a hint, unless --force is given."""
    emd = net.with_suffix(".emd")
    emd.write_text("mine")
    with pytest.raises(InputError, match="exists") as caught:
        invoke("model", "init", net)
    assert "--force" in (caught.value.hint or "")
    assert emd.read_text() == "mine"
    run("model", "init", net, "--force")
    assert document_of(emd)["ModelFile"] == "net.onnx"


@pytest.mark.parametrize(
    "options",
    [
        ("--class", "x:Water"),
        ("--class", "1"),
        ("--class", "1:"),
        ("--class", "1:Water:blue"),
        ("--class", "1:Water:#12345"),
        ("--data-range", "0"),
        ("--data-range", "a,b"),
        ("--data-range", "0,1,2"),
        ("--data-range", "nan,1"),
        ("--data-range", "0,inf"),
        ("--padding", "-1"),
        ("--tile-size", "0"),
        ("--threshold", "2"),
        ("--layout", "HWC"),
        ("--type", "Detection"),
        ("--config", "form"),
        ("--config", "=yolo"),
    ],
)
def test_init_with_options_that_cannot_be(
    net: Path, options: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An option that cannot be read exits with 2, names the option, and writes nothing."""
    assert exit_code("model", "init", net, *options) == 2
    assert options[0] in capsys.readouterr().err
    assert not net.with_suffix(".emd").exists()


def test_init_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network that is missing, is none, or answers nothing that geodl knows exits with 2 and leaves no definition."""
    (tmp_path / "text.onnx").write_text("hello")
    number = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    save(number, tmp_path / "number.onnx")
    for name in ("none.onnx", "text.onnx", "number.onnx"):
        assert exit_code("model", "init", tmp_path / name) == 2
        assert capsys.readouterr().err.startswith("error: ")
    assert not list(tmp_path.glob("*.emd"))


def test_init_of_another_kind(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A type that the network cannot be, and what is said of answers that it has not, are refused."""
    for words in (("--type", "ObjectDetection"), ("--type", "ObjectClassification"), ("--architecture", "YOLOv8")):
        assert exit_code("model", "init", net, *words) == 2
        assert capsys.readouterr().err.startswith("error: ")
    assert not list(net.parent.glob("*.emd"))
    run("model", "init", net, "--type", "ImageClassification")
    assert document_of(net.with_suffix(".emd"))["ModelType"] == "ImageClassification"


# inspect


def test_inspect_a_network_alone(net: Path) -> None:
    """An ONNX file alone is described by what its graph tells."""
    output = run("model", "inspect", net)
    for part in ("x float32 [?, 2, ?, ?]", "scores", "NCHW, any size", "4 pixels, stride 1 (by graph)", "opset 17"):
        assert part in output


def test_inspect_a_definition(emd: Path) -> None:
    """A definition is described with bands, tile, halo, cost and the colours of its classes."""
    output = run("model", "inspect", emd)
    for part in ("net", "64 × 64 pixels", "Padding 8", "8 pixels, from Padding", "GFLOP", "Middle", "██", "identity"):
        assert part in output


def test_inspect_as_json(emd: Path) -> None:
    """With --json one object is printed and nothing else, the same for a definition, its package and its text."""
    run("model", "pack", emd)
    cards = [
        json.loads(invoke("model", "inspect", place, "--json").stdout) for place in (emd, emd.with_suffix(".dlpk"))
    ]
    assert cards[0] == cards[1]
    assert cards[0]["task"] == "ImageClassification"
    assert [(entry["value"], entry["name"]) for entry in cards[0]["classes"]] == [
        (1, "Dark"),
        (2, "Middle"),
        (7, "Bright"),
    ]
    assert cards[0]["classes"][0]["color"] == "#0a141e"
    text = json.dumps({**document_of(emd), "ModelFile": str(emd.parent / "net.onnx")})
    assert json.loads(invoke("model", "inspect", text, "--json").stdout)["classes"] == cards[0]["classes"]


def test_inspect_with_a_probe(emd: Path) -> None:
    """--probe runs the network, and says what graph and answers tell together."""
    assert "4 pixels, stride 1 (by graph and probe)" in run("model", "inspect", emd, "--probe")


def test_inspect_without_the_network(tmp_path: Path) -> None:
    """A definition whose network is not there is described all the same, and says what a run lacks."""
    card = json.loads(invoke("model", "inspect", write_emd(tmp_path), "--json").stdout)
    assert "net.onnx, which is not there" in card["network"]
    assert card["bands"] == "0, 1"
    assert len(card["classes"]) == 3
    template = tmp_path / "t.emd"
    template.write_text(json.dumps({"ModelFile": "e.g. x.onnx", "ImageHeight": "e.g. 256", "ExtractBands": [0, 1]}))
    notes = json.loads(invoke("model", "inspect", template, "--json").stdout)["notes"]
    assert "still to be filled in: ModelFile, ImageHeight" in notes
    assert "a run needs the missing ModelFile, ModelType, Classes" in notes


def test_inspect_a_template_with_its_network(net: Path) -> None:
    """What somebody still has to fill in is shown, not refused, also where the network is there."""
    emd = write_emd(net.parent, ImageHeight="e.g. 256")
    assert any("ImageHeight" in note for note in json.loads(invoke("model", "inspect", emd, "--json").stdout)["notes"])


def test_inspect_what_disagrees(net: Path) -> None:
    """A definition that does not fit its network is shown with what is wrong as a note."""
    emd = write_emd(net.parent, ExtractBands=[0, 1, 2])
    assert "ExtractBands names 3 bands" in run("model", "inspect", emd)


@pytest.mark.parametrize("name", ["none.emd", "none.onnx", "none.dlpk", "broken.emd"])
def test_inspect_what_is_no_model(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no model exits with 2 and one plain line that names it."""
    (tmp_path / "broken.emd").write_text("{")
    assert exit_code("model", "inspect", tmp_path / name) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert name in captured.err.splitlines()[0]


def test_inspect_text_from_outside(net: Path) -> None:
    """Names from a definition are printed letter by letter, never taken for markup."""
    classes = [{"Value": value, "Name": f"[bold]{value}[/x]"} for value in range(3)]
    emd = write_emd(net.parent, Classes=classes, Description="[red]x[/]")
    output = run("model", "inspect", emd)
    assert "[bold]0[/x]" in output
    assert "[red]x[/]" in output


# validate


def test_validate(emd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that runs exits with 0 and says of what it is."""
    assert exit_code("model", "validate", emd) == 0
    assert capsys.readouterr().out.endswith(f"{emd} runs: scores of 3 classes from 2 bands\n")


def test_validate_repairs(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Repairs are printed with their line; with --strict they exit with 2."""
    emd = write_emd(net.parent, Padding="8")
    assert exit_code("model", "validate", emd) == 0
    assert 'repaired  line 1: Padding: "8" was read as 8' in capsys.readouterr().out
    assert exit_code("model", "validate", emd, "--strict") == 2
    assert 'line 1: Padding: "8" was read as 8' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ModelFile": "none.onnx"}, "none.onnx"),
        ({"ModelType": "ObjectDetection"}, "ObjectDetection"),
        ({"ExtractBands": [0]}, "ExtractBands names 1 bands"),
        ({"Classes": None}, "Classes is missing"),
        ({"ImageHeight": -1, "Threshold": 7}, "Threshold"),
        ({"ImageHeight": "e.g. 64"}, "ImageHeight"),
    ],
)
def test_validate_what_does_not_run(
    net: Path, keys: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that does not run exits with 2 and says why."""
    assert exit_code("model", "validate", write_emd(net.parent, **keys)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert said in captured.err
    assert "runs" not in captured.out


def test_a_model_of_no_catalog(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name where there is no catalog exits with 2 and says both ways to go on."""
    assert exit_code("model", "validate", "landcover", "--catalog", tmp_path / "none.db") == 2
    captured = capsys.readouterr().err
    assert "landcover: expected a model file" in captured
    assert "geodl model add" in captured
    assert not (tmp_path / "none.db").exists()


# edit


def test_edit(emd: Path) -> None:
    """--set takes JSON and text, --unset takes keys away, unknown keys stay, and the file is read strictly."""
    emd.write_text(json.dumps({**document_of(emd), "Wish": {"a": [1, None]}, "BatchSize": 4}))
    changes = ("ModelName=The roads", 'ExtractBands=["Red","Green"]', "Threshold=0.25", "Kwargs=1e-4;x=y", "Flag=true")
    run("model", "edit", emd, *(word for change in changes for word in ("--set", change)), "--unset", "BatchSize")
    document = document_of(emd)
    assert document["ModelName"] == "The roads"
    assert document["ExtractBands"] == ["Red", "Green"]
    assert (document["Threshold"], document["Kwargs"], document["Flag"]) == (0.25, "1e-4;x=y", True)
    assert document["Wish"] == {"a": [1, None]}
    assert "BatchSize" not in document
    assert document["Padding"] == 8
    assert load_package(str(emd), is_strict=True).repairs == ()


def test_edit_repairs(emd: Path) -> None:
    """Without changes a definition is repaired, each repair is printed, and --output leaves the first as it was."""
    text = "// from ArcGIS\n" + emd.read_text().replace('"Padding": 8', '"Padding": "8"')
    emd.write_text(text)
    output = run("model", "edit", emd, "-o", emd.with_name("new.emd"))
    assert "repaired  line 1" in output
    assert 'repaired  line 2: Padding: "8" was read as 8' in output
    assert emd.read_text() == text
    assert load_package(str(emd.with_name("new.emd")), is_strict=True).repairs == ()


def test_edit_twice_changes_nothing_more(emd: Path) -> None:
    """An edited definition edited again the same way is the same file."""
    run("model", "edit", emd, "--set", "Padding=48")
    once = emd.read_bytes()
    run("model", "edit", emd, "--set", "Padding=48")
    assert emd.read_bytes() == once


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--set", "Padding"), "expected KEY=VALUE"),
        (("--set", "=1"), "expected KEY=VALUE"),
        (("--set", "Padding=-1", "--set", "Threshold=7"), "Threshold"),
        (("--set", "Padding=abc"), "Padding: expected a whole number"),
        (("--unset", "Nothing"), "--unset Nothing"),
    ],
)
def test_edit_what_cannot_be(
    emd: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A change that cannot be exits with 2, says all that is wrong, and leaves the file as it was."""
    before = emd.read_bytes()
    assert exit_code("model", "edit", emd, *options) == 2
    assert said in capsys.readouterr().err
    assert emd.read_bytes() == before
    assert exit_code("model", "edit", emd.with_name("none.emd"), *options) == 2


def test_edit_keeps_what_is_still_to_be_filled_in(tmp_path: Path) -> None:
    """Editing one key of an export template keeps the placeholders of the others."""
    template = tmp_path / "t.emd"
    template.write_text(json.dumps({"ModelFile": "e.g. x.onnx", "ImageHeight": "e.g. 256", "ExtractBands": [0, 1]}))
    run("model", "edit", template, "--set", "ImageHeight=128")
    assert document_of(template)["ModelFile"] == "e.g. x.onnx"


# pack


def test_pack(emd: Path) -> None:
    """A package holds the definition verbatim and its network, opens again, and is the same model."""
    output = run("model", "pack", emd)
    package = emd.with_suffix(".dlpk")
    assert f"wrote {package}" in output
    with zipfile.ZipFile(package) as archive:
        assert archive.namelist() == ["net.emd", "net.onnx"]
        assert archive.read("net.emd") == emd.read_bytes()
        assert archive.read("net.onnx") == (emd.parent / "net.onnx").read_bytes()
    cards = [json.loads(invoke("model", "inspect", place, "--json").stdout) for place in (emd, package)]
    assert cards[0]["identity"] == cards[1]["identity"]


def test_pack_gives_the_same_bytes(emd: Path) -> None:
    """Packed twice, or elsewhere, the same model gives the same bytes."""
    run("model", "pack", emd)
    run("model", "pack", emd, "-o", emd.parent / "sub" / "other.dlpk")
    first = emd.with_suffix(".dlpk")
    assert first.read_bytes() == (emd.parent / "sub" / "other.dlpk").read_bytes()


def test_pack_refuses_to_overwrite(emd: Path) -> None:
    """A package that exists stays unless --force is given."""
    target = emd.with_suffix(".dlpk")
    target.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists"):
        invoke("model", "pack", emd)
    assert target.read_bytes() == b"mine"
    run("model", "pack", emd, "--force")
    load_package(str(target))


@pytest.mark.parametrize("name", [".\\deep\\net.onnx", "deep/net.onnx", "C:\\models\\net.onnx"])
def test_pack_a_path(net: Path, name: str) -> None:
    """A relative ModelFile keeps its place inside the package, an absolute one becomes a name; all else stays."""
    place = net.parent / name.replace("\\", "/")
    place.parent.mkdir(parents=True)
    net.rename(place)
    emd = write_emd(net.parent, ModelFile=name, Wish=[1])
    run("model", "pack", emd)
    package = load_package(str(emd.with_suffix(".dlpk")), is_strict=True)
    inside = "net.onnx" if ":" in name else name
    assert package.emd.ModelFile == inside
    assert package.emd.model_dump(exclude={"ModelFile"}) == load_package(str(emd)).emd.model_dump(exclude={"ModelFile"})
    with zipfile.ZipFile(emd.with_suffix(".dlpk")) as archive:
        assert inside.replace("\\", "/").removeprefix("./") in archive.namelist()
    assert package.file.graph == load_package(str(emd)).file.graph


def test_pack_external_weights_and_preprocessing(net: Path) -> None:
    """Weights outside the network are taken in, and the graph before it is packed too."""
    onnx.save(onnx.load(net), net, save_as_external_data=True, location="w.bin", size_threshold=0)
    conv_network(net.parent / "before.onnx", seed=1)
    emd = write_emd(net.parent, PreprocessingModel=".\\before.onnx")
    run("model", "pack", emd)
    (net.parent / "w.bin").unlink()
    package = load_package(str(emd.with_suffix(".dlpk")))
    assert package.preprocessing is not None
    assert package.emd.PreprocessingModel == ".\\before.onnx"
    weights = [numpy_helper.to_array(tensor) for tensor in package.file.proto.graph.initializer]
    whole = onnx.load(conv_network(net.parent / "again.onnx")).graph.initializer
    assert all(np.array_equal(one, numpy_helper.to_array(other)) for one, other in zip(weights, whole, strict=True))


def test_pack_two_files_of_one_name(tmp_path: Path) -> None:
    """Network and preprocessing graph of the same name in two folders stay two files, or are refused."""
    for name, seed in (("main", 1), ("before", 2)):
        (tmp_path / name).mkdir()
        conv_network(tmp_path / name / "net.onnx", seed=seed)
    emd = write_emd(tmp_path, ModelFile="main/net.onnx", PreprocessingModel="before/net.onnx")
    try:
        run("model", "pack", emd)
    except GeodlError:
        return
    assert load_package(str(emd.with_suffix(".dlpk"))).file.graph == load_package(str(emd)).file.graph


def test_pack_what_is_not_there(tmp_path: Path) -> None:
    """A definition without its network is a ModelError, and no package is left."""
    emd = write_emd(tmp_path)
    with pytest.raises(ModelError, match=r"net\.onnx"):
        invoke("model", "pack", emd)
    assert [path.name for path in tmp_path.iterdir()] == ["net.emd"]


# run --help-model


def test_help_of_a_model(emd: Path) -> None:
    """`run --help-model` lists the arguments of that model without an Item, and nothing is run."""
    output = run("run", "--help-model", emd)
    assert output.startswith("Arguments of the model net")
    names = [line.split()[0] for line in output.splitlines()[1:]]
    scores = ["test_time_augmentation", "merge_policy", "return_probability_raster"]
    assert names == ["padding", "tile_size", "batch_size", *scores]
    assert "from 0 to 16384, default 8" in output


def test_arguments_that_a_model_lacks(emd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--arg` that the model does not take exits with 2, all of it said at once, before the Item is looked at."""
    assert exit_code("run", "none.json", "-m", emd, "--arg", "tta 1;padding 99999", "--arg", "x=1") == 2
    captured = capsys.readouterr().err
    for part in ("tta:", "x:", "padding: expected a whole number from 0 to 16384, found 99999", "--help-model"):
        assert part in captured
