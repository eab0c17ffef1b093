"""Heights in descending order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled

Words = NDArray[np.uint32]
Pairs = NDArray[np.uint64]

INFINITY = 0x7F800000
"""The bits of infinity in single precision; those of NaN are above."""

DIGIT = 11
"""Bits of a digit: three of them make 32 bits."""


def descending(values: NDArray[Any], names: Words, sign: int) -> tuple[Words, NDArray[Any]]:
    """What is above 0, by descending height; equal heights in the order they are given.

    Parameters
    ----------
    values
        array of shape (n,); NaN takes no part.
    names
        array of shape (n,): what stands for each value.
    sign
        1, or -1 for the heights of what is below 0.

    Returns
    -------
    names : ndarray of shape (n_above,)
    heights : ndarray of shape (n_above,)
        In the precision of `values`.
    """
    if values.dtype == np.float32:
        flipped = np.uint32(0 if sign > 0 else 1 << 31)
        sorted_names, bits = _parted(_sorted(_pairs(values.view(np.uint32), names, flipped)))
        return sorted_names, bits.view(np.float32)
    above = np.flatnonzero(sign * values > 0)
    order = above[np.argsort(-sign * values[above], kind="stable")]
    return names[order], sign * values[order]


@compiled
def _pairs(bits: Words, names: Words, flipped: np.uint32) -> Pairs:
    """Bits of values above 0 and names in one number each: positive floats are ordered as their bits are."""
    pairs = np.empty(bits.size, dtype=np.uint64)
    n = 0
    for i in range(bits.size):
        key = bits[i] ^ flipped
        pairs[n] = np.uint64(key) << np.uint64(32) | np.uint64(names[i])
        # Written before it is asked for: what is taken is not to be foreseen, and a wrong guess costs more.
        n += 1 if np.uint32(0) < key <= np.uint32(INFINITY) else 0
    return pairs[:n]


@compiled
def _digit(pair: np.uint64, shift: int) -> int:
    """A digit of the upper half, counted from the largest."""
    return 2047 - int((pair >> np.uint64(shift)) & np.uint64(2047))


@compiled
def _sorted(pairs: Pairs) -> Pairs:
    """Numbers by their descending upper halves, digit by digit from the lowest."""
    places = np.zeros((3, 2049), dtype=np.int64)
    for i in range(pairs.size):
        for turn in range(3):
            places[turn, _digit(pairs[i], 32 + DIGIT * turn) + 1] += 1
    other = np.empty_like(pairs)
    for turn in range(3):
        for digit in range(2048):
            places[turn, digit + 1] += places[turn, digit]
        for i in range(pairs.size):
            digit = _digit(pairs[i], 32 + DIGIT * turn)
            other[places[turn, digit]] = pairs[i]
            places[turn, digit] += 1
        pairs, other = other, pairs
    return pairs


@compiled
def _parted(pairs: Pairs) -> tuple[Words, Words]:
    """Lower and upper halves."""
    names, bits = np.empty(pairs.size, dtype=np.uint32), np.empty(pairs.size, dtype=np.uint32)
    for i in range(pairs.size):
        names[i], bits[i] = pairs[i] & np.uint64(0xFFFFFFFF), pairs[i] >> np.uint64(32)
    return names, bits
