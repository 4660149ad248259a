"""Opens ONNX models: the one module that knows the runtime."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # the runtime reports to its maker unless this stands before its import

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tidegate.schemas import TidegateError
from tidegate.services.model_files import GraphFile

T = TypeVar("T")
Array = NDArray[Any]
_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
}

_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


_LEFT_OUT = ("SkipLayerNormFusion",)
"""Of what the runtime does to a graph when it opens it. Its fused sum and normalisation takes four times as long as the
two apart on a CPU (1.32; 40 µs against 10 for 18 tokens), which is a sixth of an encoder's time."""


class TensorInfo(NamedTuple):
    """An input or output: its name, its numpy type (None: another kind), its shape; None where a size is free."""

    name: str
    type: type[np.generic] | None
    shape: tuple[int | None, ...]


class RuntimeArray:
    """An array inside the runtime, fed back to it without a copy."""

    __slots__ = ("_array", "value")

    def __init__(self, value: Any, array: Array | None = None) -> None:
        self.value = value
        self._array = array  # the runtime borrows the memory of an array and does not keep it alive

    @classmethod
    def of(cls, array: Array) -> RuntimeArray:
        """Take `array` over; it must not be written to afterwards."""
        whole = np.ascontiguousarray(array)
        return cls(onnxruntime.OrtValue.ortvalue_from_numpy(whole), whole)

    def read(self) -> Array:
        """What it holds, without a copy; not to be written to."""
        array: Array = self.value.numpy() if self._array is None else self._array
        return array


Provider = Literal["cpu", "cuda", "tensorrt", "rocm", "migraphx", "openvino", "directml", "coreml"]
"""What a model is computed on, as settings name it."""
PROVIDERS: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}


class ProviderUnavailableError(TidegateError, RuntimeError):
    """This ONNX Runtime does not compute on what the settings name."""

    hint = "install the runtime that does, as onnxruntime-gpu for cuda and tensorrt, or name `cpu`"

    def __init__(self, wanted: Sequence[Provider]) -> None:
        there = [name for name, known in PROVIDERS.items() if known in onnxruntime.get_available_providers()]
        super().__init__(f"ONNX Runtime computes on {', '.join(there)} here, not on {', '.join(wanted)}")


class OpenedModels(Generic[T]):
    """Models of one kind, each opened once for a process. Safe to use from several threads at once."""

    def __init__(self) -> None:
        self._opened: dict[Path, T] = {}
        self._opening = threading.Lock()

    def find(self, directory: Path) -> T | None:
        """The model in a directory, where it is open."""
        return self._opened.get(directory.resolve())

    def open(self, directory: Path, read: Callable[[Path], T]) -> T:
        """The model in a directory; `read` reads it where it is not open yet. Raises what `read` raises."""
        directory = directory.resolve()
        with self._opening:
            if directory not in self._opened:
                self._opened[directory] = read(directory)
            return self._opened[directory]


class OnnxSession:
    """A model that is ready to run. Safe to run from several threads at once."""

    def __init__(
        self,
        model: GraphFile | Path,
        *,
        shrink: bool = False,
        providers: Sequence[Provider] = ("cpu",),
        threads: int = 1,
    ) -> None:
        """Read the model. `shrink` gives memory back after each run, which takes about a tenth longer.

        `providers`: the first of them that the runtime has; the CPU computes what that one cannot. One thread of the
        CPU unless told otherwise, because two cost six times the CPU for the same latency on a small machine, and
        parallel runs of one session scale. The weights of a `GraphFile` are mapped, not copied. Raises
        `ProviderUnavailableError`, what `GraphFile` raises, and what the runtime raises for a file that it cannot read.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        source: str | bytes = str(model)
        if isinstance(model, GraphFile):
            source = model.without_weights()
            options.enable_cpu_mem_arena = False  # one for each session kept what its longest text had taken
            options.add_session_config_entry(_WEIGHTS_FOLDER, str(model.path.parent))
        self._session = onnxruntime.InferenceSession(
            source, options, providers=_usable(providers), disabled_optimizers=list(_LEFT_OUT)
        )
        if isinstance(model, GraphFile):
            model.check()  # the runtime has opened it by its name
        self._run = onnxruntime.RunOptions()
        if shrink:
            self._run.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.inputs: tuple[TensorInfo, ...] = tuple(map(_tensor, self._session.get_inputs()))
        self.outputs: tuple[TensorInfo, ...] = tuple(map(_tensor, self._session.get_outputs()))

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """All outputs, in the order of `outputs`."""
        found: list[Array] = self._session.run(None, dict(feeds), self._run)
        return found

    def run_keeping(
        self, feeds: Mapping[str, Array], kept: Mapping[str, RuntimeArray], read: str, keep: Sequence[str]
    ) -> tuple[Array, list[RuntimeArray]]:
        """The output `read`, and those of `keep` left in the runtime; `kept` are inputs that were left there before."""
        values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items()}
        values |= {name: each.value for name, each in kept.items()}
        first, *rest = self._session.run_with_ort_values([read, *keep], values, self._run)
        return first.numpy(), [RuntimeArray(each) for each in rest]


def _usable(wanted: Sequence[Provider]) -> list[str]:
    available = set(onnxruntime.get_available_providers())
    found = next((PROVIDERS[name] for name in wanted if PROVIDERS[name] in available), None)
    if found is None:
        raise ProviderUnavailableError(wanted)
    return list(dict.fromkeys((found, PROVIDERS["cpu"])))


def _tensor(described: Any) -> TensorInfo:
    shape = tuple(size if isinstance(size, int) else None for size in described.shape)
    return TensorInfo(described.name, _TYPES.get(described.type), shape)
