"""Finds lines of text in a picture and reads them, by RapidOCR: the one module that knows it.

Promises one thread, models from the installed package and no download. Next: recognition.py.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from tidegate.services.knowledge.ingest.errors import FileUnreadError

INSTALL = "pip install 'tidegate[vision]'"
"""What brings it; README.md words it the same."""
MOST_PIXELS = 100_000_000
"""Of a picture as it is stored: A4 at 800 dots an inch; unpacked it takes 300 MB."""
_MODELS = {"Det": "PP-OCRv6_det_small.onnx", "Rec": "PP-OCRv6_rec_small.onnx"}
_SETTINGS = {
    "Global.log_level": "critical",
    "Global.use_preprocess_img": False,  # recognition.py gives pictures of the right size
    "Det.limit_type": "max",
    "Det.limit_side_len": 1 << 16,
    "Det.max_candidates": 1000,
    "Rec.rec_batch_num": 1,  # six at once took 2.7 s and 767 MiB where one by one took 1.9 s and 397 MiB
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}


class PictureUnreadError(FileUnreadError):
    """The text of a picture cannot be read; the message says why, after `it`."""


class ReadLine(msgspec.Struct, frozen=True):
    """What one line says. `confidence` is the mean over its characters, 0 to 1; `positions` say where in the line's
    picture each character that is no space stands, as a share of the width."""

    text: str
    confidence: float
    positions: tuple[float, ...]


def is_installed() -> bool:
    """Whether the extra `vision` is there."""
    return find_spec("rapidocr") is not None


class TextEngine:
    """The two models: where lines are, and what they say. Pictures are arrays of RGB."""

    def __init__(self) -> None:
        """Raises `PictureUnreadError` where the extra `vision` is not there, or is broken."""
        try:
            os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime reports to its maker unless this stands before it
            import cv2
            import rapidocr
        except ImportError as error:  # as where two packages of OpenCV are installed, or a library of the system lacks
            raise PictureUnreadError(f"needs text recognition, which cannot be loaded ({error})") from error
        cv2.setNumThreads(1)
        models = Path(rapidocr.__file__).parent / "models"
        paths = {f"{model}.model_path": str(models / name) for model, name in _MODELS.items()}
        self._engine: Any = rapidocr.RapidOCR(params={**_SETTINGS, **paths})

    def find_lines(self, picture: Any) -> Any:
        """The corners of each line, clockwise from its top left: an array of lines × 4 × 2, in pixels; None where
        there is no text."""
        return self._engine(picture, use_det=True, use_cls=False, use_rec=False).boxes

    def read_line(self, line: Any) -> ReadLine:
        """What the picture of a line says."""
        found = self._engine(line, use_det=False, use_cls=False, use_rec=True, return_word_box=True)
        if not found.txts or not found.txts[0].strip():
            return ReadLine("", 0.0, ())
        where = found.word_results[0]
        columns = [column for word in where.word_cols for column in word]
        return ReadLine(
            found.txts[0].strip(),
            float(found.scores[0]),
            tuple(min(1.0, (column + 0.5) / where.line_txt_len) for column in columns),
        )
