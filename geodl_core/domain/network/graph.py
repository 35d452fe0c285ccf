"""What is known of an ONNX graph without running it: its tensors, its size, its digest."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a graph."""

    name: str
    dtype: str
    """NumPy's name of the element type, such as `float32`."""
    shape: tuple[int | None, ...]
    """None where the graph leaves a size open."""

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype} [{sizes}]"


@dataclass(frozen=True, slots=True)
class Graph:
    """The outside of an ONNX model."""

    inputs: tuple[Tensor, ...]
    """Without those that are only initial values of weights."""
    outputs: tuple[Tensor, ...]
    activations: tuple[str | None, ...]
    """Of each output: `Softmax` or `Sigmoid` where that is what computes it, reshaping apart."""
    opset: int
    digest: str
    """SHA-256 of the file, hexadecimal."""
