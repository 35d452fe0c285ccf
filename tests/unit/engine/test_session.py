"""Inference sessions: which runtime they take, and what is said when it cannot be."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from fused import fused_network, stored_values
from geodl_core.engine.buffers import KEPT_SHAPES, is_out_of_memory
from geodl_core.engine.providers import PROVIDERS, SessionChoice, with_options
from geodl_core.engine.session import import_runtime, open_session
from geodl_core.errors import InferenceError, InputError, ModelError
from networks import conv_network

KINDS = [("uint16", "uint8"), ("uint8", "uint16"), ("uint16", "float32"), ("float32", "uint8")]
SHAPES = [(1, 2, 32, 40), (3, 2, 32, 40), (1, 2, 17, 9), (2, 2, 64, 64), (1, 2, 48, 16), (4, 2, 24, 24)]


def run_plainly(fused: bytes, pixels: np.ndarray, crop: tuple[int, ...] | None = None) -> np.ndarray:
    """Run a graph by onnxruntime's `run`, in the same options that decide on its arithmetic."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(fused, options, providers=["CPUExecutionProvider"])
    feed = {"geodl_pixels": pixels, **({} if crop is None else {"geodl_core": np.asarray(crop)})}
    return session.run(None, feed)[0]


def test_both_runtimes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With onnxruntime and onnxruntime-gpu installed, which overwrite one another, nothing is run."""
    facts = tmp_path / "onnxruntime_gpu-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="overwrite one another") as caught:
        import_runtime()
    assert "install one" in (caught.value.hint or "")


def test_no_runtime_is_said() -> None:
    """Without onnxruntime the error names the extra to install."""
    code = """
import sys
sys.modules["onnxruntime"] = None
from geodl_core.engine.session import import_runtime
from geodl_core.errors import InputError
try:
    import_runtime()
except InputError as error:
    print(error.exit_code, error.hint)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.startswith("2 pip install onnxruntime")


def test_a_provider_that_is_not_there() -> None:
    """Asking for CUDA where onnxruntime has none is an InputError that lists what there is."""
    if "CUDAExecutionProvider" in import_runtime().get_available_providers():
        pytest.fail("this test is for machines without a GPU build of onnxruntime")
    with pytest.raises(InputError, match="CPUExecutionProvider"):
        open_session(b"", "cuda")


def test_what_is_no_graph() -> None:
    """Bytes that onnxruntime does not take are a ModelError of one line."""
    with pytest.raises(ModelError) as caught:
        open_session(b"no graph", "cpu")
    assert "\n" not in caught.value.message


def test_a_run_that_fails(tmp_path: Path) -> None:
    """Pixels that do not fit the graph are an InferenceError that names their shape."""
    session = open_session(conv_network(tmp_path / "net.onnx").read_bytes(), "cpu")
    with pytest.raises(InferenceError, match="float64"):
        session.infer(np.zeros((1, 2, 8, 8)))


@pytest.mark.parametrize(("chip", "answer"), KINDS)
def test_a_bound_run_equals_a_plain_one(chip: str, answer: str) -> None:
    """Through bound buffers every type of values and answers comes out as from a plain run, to the last bit."""
    fused = fused_network(chip, answer)
    session = open_session(fused, "cpu")
    for shape in (*SHAPES, *SHAPES):
        pixels = stored_values(shape, chip)
        found, expected = session.infer(pixels), run_plainly(fused, pixels)
        assert found.dtype == expected.dtype == answer
        np.testing.assert_array_equal(found, expected)


def test_threads_do_not_share_buffers() -> None:
    """Threads that run different batches of the same and of other shapes at once each get their own answer."""
    fused = fused_network()
    session = open_session(fused, "cpu")
    batches = [stored_values(shape, seed=seed) for seed in range(6) for shape in SHAPES]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(session.infer, batches))
    for pixels, answer in zip(batches, answers, strict=True):
        np.testing.assert_array_equal(answer, run_plainly(fused, pixels))


def test_an_answer_is_never_written_again() -> None:
    """An answer stays as it was while later batches of its shape run, and after the session is gone."""
    session = open_session(fused_network(answer="float32"), "cpu")
    pixels = stored_values((2, 2, 64, 64))
    answer = session.infer(pixels)
    before = answer.copy()
    for seed in range(2, 6):
        session.infer(stored_values(pixels.shape, seed=seed))
    del session
    np.testing.assert_array_equal(answer, before)


def test_few_buffers_are_kept() -> None:
    """A thread keeps the buffers of a few shapes, however many it has seen."""
    session = open_session(fused_network(), "cpu")
    for side in range(8, 8 + 3 * KEPT_SHAPES):
        session.infer(stored_values((1, 2, side, side)))
    assert len(session.lanes.buffers._kept) == KEPT_SHAPES


def test_pixels_in_another_order() -> None:
    """Views that are turned or cut are run as what they show."""
    fused = fused_network()
    session = open_session(fused, "cpu")
    pixels = stored_values((1, 2, 64, 64))
    for view in (pixels.transpose(0, 1, 3, 2), pixels[:, :, ::2, 1::2], pixels[:, :, ::-1]):
        np.testing.assert_array_equal(session.infer(view), run_plainly(fused, np.ascontiguousarray(view)))


def test_a_crop_is_what_is_answered() -> None:
    """A graph that crops answers the part that is asked for, and all of it when none is."""
    fused = fused_network(crops=True)
    session = open_session(fused, "cpu")
    pixels = stored_values((2, 2, 40, 48))
    whole = session.infer(pixels)
    np.testing.assert_array_equal(whole, run_plainly(fused_network(), pixels))
    for crop in ((4, 8, 30, 48), (0, 0, 1, 1), (4, 8, 30, 44)):
        top, left, bottom, right = crop
        np.testing.assert_array_equal(session.infer(pixels, crop), whole[:, top:bottom, left:right])


def test_a_graph_without_crop() -> None:
    """A graph that takes no crop answers all of its input, whatever is asked."""
    session = open_session(fused_network(), "cpu")
    assert session.infer(stored_values((1, 2, 40, 48)), (4, 8, 30, 44)).shape == (1, 40, 48)


def test_fixed_shapes_run_through_the_same_buffers() -> None:
    """Run as CUDA graphs want it, with addresses that stay, every shape and crop gets its own answer."""
    fused = fused_network(crops=True)
    plain = open_session(fused, "cpu")
    session = replace(plain, device=replace(plain.device, is_shape_fixed=True))
    crops = (None, (4, 8, 16, 9), None, (4, 8, 16, 9))
    found = []
    for seed, (shape, crop) in enumerate((shape, crop) for shape in SHAPES for crop in crops):
        pixels = stored_values(SHAPES[0] if seed % 3 == 0 else shape, seed=seed)
        found.append((session.infer(pixels, crop), plain.infer(pixels, crop)))
    session.lanes.buffers.clear()
    found.append((session.infer(pixels), plain.infer(pixels)))
    for answer, expected in found:
        np.testing.assert_array_equal(answer, expected)


def test_an_unknown_provider() -> None:
    """A provider that geodl does not know is an InputError that lists those it does."""
    with pytest.raises(InputError, match="auto, cpu, cuda, tensorrt, openvino"):
        open_session(b"", "quantum")  # type: ignore[arg-type]


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "openvino"])
def test_hints_say_what_to_install(provider: str) -> None:
    """Asking for a provider that this onnxruntime lacks names the package that has it."""
    with pytest.raises(InputError) as caught:
        open_session(b"", provider)  # type: ignore[arg-type]
    assert "instead of" in (caught.value.hint or "")


def pretend_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let onnxruntime list CUDA, as its GPU package does on machines without one, where it then leaves it out."""
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_falling_back_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Where CUDA is listed and does not start, `auto` runs on the CPU, says why in one line, and nothing is printed."""
    pretend_cuda(monkeypatch)
    session = open_session(fused_network())
    assert session.provider == "CPUExecutionProvider"
    assert session.device.name == "cpu"
    assert session.note is not None
    assert session.note.startswith("running on the CPU: CUDAExecutionProvider")
    assert "\n" not in session.note
    assert session.infer(stored_values(SHAPES[0])).shape == (1, 32, 40)
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_asked_for_by_name_nothing_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA asked for by name that does not start is an InputError, a graph that is none still a ModelError."""
    pretend_cuda(monkeypatch)
    with pytest.raises(InputError, match="does not start"):
        open_session(fused_network(), "cuda")
    with pytest.raises(ModelError):
        open_session(b"no graph", "cuda")


def test_the_cpu_needs_no_note() -> None:
    """Where no GPU is expected, running on the CPU is nothing to tell."""
    assert open_session(fused_network()).note is None


def test_choices_are_checked() -> None:
    """A choice of an unknown provider or of no threads is refused where it is made."""
    for wrong in ({"provider": "quantum"}, {"intra_threads": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SessionChoice(**wrong)


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "auto"])
def test_every_provider_ends_with_the_cpu(provider: str, tmp_path: Path) -> None:
    """Whatever a provider does not compute falls to the CPU's, and every option is text."""
    choice = SessionChoice(provider, cache=tmp_path, gpu_memory_bytes=2**30, is_shape_fixed=True)
    chain = with_options(provider, choice, tmp_path / "key", is_half=True)
    assert chain[-1] == ("CPUExecutionProvider", {})
    assert all(isinstance(value, str) for _, options in chain for value in options.values())


def test_cuda_keeps_the_promises_of_fp32() -> None:
    """CUDA is told to choose its kernels without timing them and to leave TF32 off, graphs only where asked."""
    ((_, options), _) = with_options("cuda", SessionChoice("cuda", gpu_memory_bytes=123))
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["use_tf32"] == "0"
    assert options["gpu_mem_limit"] == "123"
    assert "enable_cuda_graph" not in options


def test_tensorrt_is_half_where_the_graph_is(tmp_path: Path) -> None:
    """TensorRT computes in 16 bits for graphs of 16 bits alone."""
    for is_half, flag in ((True, "1"), (False, "0")):
        assert with_options("tensorrt", SessionChoice("tensorrt"), tmp_path, is_half)[0][1]["trt_fp16_enable"] == flag


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Failed to allocate memory for requested buffer of size 939524096", True),
        ("Available memory of 0 is smaller than requested bytes of 4718592", True),
        ("CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; expr=cudaMalloc((void**)&p, size);", True),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", True),
        ("std::bad_alloc", True),
        ("Got invalid dimensions for input: geodl_pixels", False),
        ("CUDA failure 700: an illegal memory access was encountered", False),
    ],
)
def test_what_out_of_memory_reads_like(text: str, expected: bool) -> None:
    """Failures for want of memory are told from others by what onnxruntime writes."""
    assert is_out_of_memory(RuntimeError(text)) is expected
