"""Inference sessions: which runtime they take, and what is said when it cannot be."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from geodl_core.engine.session import import_runtime, open_session
from geodl_core.errors import InferenceError, InputError, ModelError
from networks import conv_network


def test_both_runtimes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With onnxruntime and onnxruntime-gpu installed, which overwrite one another, nothing is run."""
    facts = tmp_path / "onnxruntime_gpu-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="overwrite one another") as caught:
        import_runtime()
    assert "geodl[cpu]" in (caught.value.hint or "")


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
    assert output.startswith("2 pip install 'geodl[cpu]'")


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
