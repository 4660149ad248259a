"""Opens a graph that a builder or a measurement has made."""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # the runtime reports to its maker unless this stands before its import

import onnxruntime as ort


def open_session(model: bytes | str) -> ort.InferenceSession:
    """The graph, given as its bytes or its file, on one thread of the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
