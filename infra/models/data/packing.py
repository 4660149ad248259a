"""Packs a matrix into blocks of 4- or 8-bit numbers with one scale each, as onnxruntime's MatMulNBits reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BLOCK = 32
ACCURACY = {8: 4, 4: 0}  # int8 computes with int8 activations: several times faster a token, and no worse to speak of
BITS = {"int8": 8, "int4": 4}


@dataclass(frozen=True)
class Packed:
    """`data` uint8 (out, blocks, bytes), `scales` float32 (out, blocks); a weight is (number - 2^(bits-1)) · scale."""

    bits: int
    data: Array
    scales: Array


def rounded(blocks: Array, scales: Array, bits: int) -> Array:
    half = 1 << (bits - 1)
    safe = np.where(scales == 0, np.float32(1), scales)[..., None]
    whole: Array = np.clip(np.rint(blocks / safe), -half, half - 1)
    return whole


def fitted(blocks: Array, bits: int) -> Array:
    """The scale of each block, of a few candidates, that loses least; the largest weight may sit on either end."""
    half = 1 << (bits - 1)
    positions = np.abs(blocks).argmax(axis=-1)[..., None]
    extreme = np.take_along_axis(blocks, positions, axis=-1)[..., 0]
    best = (-extreme / half).astype(np.float32)
    least = np.square(blocks - rounded(blocks, best, bits) * best[..., None]).sum(-1)
    for shrink in (1.0, 0.95, 0.9, 0.85, 0.8, 0.75) if bits == 4 else (1.0,):
        for candidate in (-extreme / half * shrink, np.abs(extreme) / (half - 1) * shrink):
            scales = candidate.astype(np.float32)
            loss = np.square(blocks - rounded(blocks, scales, bits) * scales[..., None]).sum(-1)
            best, least = np.where(loss < least, scales, best), np.minimum(loss, least)
    return best


def packed(matrix: Array, bits: int) -> Packed:
    """Of a matrix (out, in); `in` must be a multiple of the block."""
    rows, columns = matrix.shape
    if columns % BLOCK:
        raise ValueError(f"{columns} columns are not whole blocks of {BLOCK}")
    blocks = matrix.reshape(rows, columns // BLOCK, BLOCK).astype(np.float32)
    scales = fitted(blocks, bits)
    data: Array = (rounded(blocks, scales, bits) + (1 << (bits - 1))).astype(np.uint8)
    if bits == 4:
        data = data[..., 0::2] | (data[..., 1::2] << 4)
    return Packed(bits, np.ascontiguousarray(data), scales)


def unpacked(matrix: Array, bits: int) -> Array:
    """The matrix as its packed form stands for."""
    rows, columns = matrix.shape
    blocks = matrix.reshape(rows, columns // BLOCK, BLOCK).astype(np.float32)
    scales = fitted(blocks, bits)
    exact: Array = (rounded(blocks, scales, bits) * scales[..., None]).reshape(rows, columns)
    return exact
