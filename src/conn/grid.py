"""The grid that a lattice stands on, as bits: who is there around a voxel, and in how many pieces.

One bit says whether a voxel is there. Bits stand in words of 9 by 7 places of a plane, of which the inner 7
by 5 are the word's own; the rim repeats those of its neighbours, so that what lies around a voxel is in one
word of its plane, one of the plane below and one of the plane above. Three loads and shifts give 27 places.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled

Longs = NDArray[np.int64]

ACROSS, DOWN = 7, 5
"""Places of a word that are its own, on the first and the second axis."""

LINE = ACROSS + 2
"""Bits from one line of a word to the next."""

BITS = 6
"""Of a code, for the number of a bit; the number of a word stands above."""

WORD = 1 << BITS
"""Codes from one word to the next."""

TO_CENTRE = LINE + 1
"""From the bit of a voxel's first neighbour to its own."""

STEPS = tuple((x, y, z) for y, z, x in product((-1, 0, 1), repeat=3))
"""Steps to the 27 places of a window, in the order of its bits: the first axis, the third, the second."""

PRIME = 37
"""Numbers with one bit below 2^27 all have different remainders."""


def _bits(chosen: Callable[[tuple[int, int, int]], bool]) -> int:
    return sum(1 << bit for bit, step in enumerate(STEPS) if chosen(step))


def _but(axis: int, end: int) -> int:
    """All places of a window but those at one of its ends."""
    return _bits(lambda step: step[axis] != end)


FACES = _bits(lambda step: sum(map(abs, step)) == 1)
NOT_FIRST, NOT_LAST = _but(0, -1), _but(0, 1)
NOT_BELOW, NOT_ABOVE = _but(2, -1), _but(2, 1)
IN_PLANE = 0b111 | 0b111 << LINE | 0b111 << 2 * LINE


class Grid(NamedTuple):
    """Where the features of a lattice stand; a tuple, because compiled loops can take one.

    Attributes
    ----------
    places : ndarray of shape (n,), uint32
        x, y and z of each feature, counted from the corner of the smallest box around all of them, in one
        number: x in the lowest bits. They ascend with the features.
    columns, rows : ndarray of shape (nx, 2) and (ny, 2), int64
        What an x, and a y, adds to the code of the first place around a voxel; and the step from the code of
        a voxel to that of its repetition in the rim of the word beside it, 0 where there is none.
    offsets : ndarray of shape (37,), int64
        From a cell to that in the direction of a bit, by the remainder of the bit.
    x_bits, y_bits
        Bits of a place for x, and for y.
    nx, plane
        Cells from one y, and from one z, to the next.
    n_words, n_cells
        Of the bitmap, and of the box.
    near
        The bits of neighbours.
    edges, corners
        All bits set when voxels that share an edge, or a corner, are neighbours; otherwise 0.
    """

    places: NDArray[np.uint32]
    columns: Longs
    rows: Longs
    offsets: Longs
    x_bits: int
    y_bits: int
    nx: int
    plane: int
    n_words: int
    n_cells: int
    near: int
    edges: int
    corners: int


def grid_of(at: NDArray[np.int64], axes: int) -> Grid | None:
    """The grid of some voxels.

    Parameters
    ----------
    at
        int array of shape (3, n): x, y and z of each, ascending, x fastest.
    axes
        In how many axes neighbours may differ: 1, 2 or 3.

    Returns
    -------
    Grid or None
        None when there is no voxel, or when a place needs more than 32 bits.
    """
    if not at.size:
        return None
    x, y, z = at - at.min(axis=1, keepdims=True)
    nx, ny, nz = int(x.max()) + 1, int(y.max()) + 1, int(z.max()) + 1
    x_bits, y_bits = (nx - 1).bit_length(), (ny - 1).bit_length()
    if x_bits + y_bits + (nz - 1).bit_length() > 32:
        return None
    # A word more on every side, and a plane, so that every window and every rim exists.
    words = (-(-nx // ACROSS) + 2, -(-ny // DOWN) + 2, nz + 2)
    columns = _codes(nx, ACROSS, words[1] * words[2], 1)
    rows = _codes(ny, DOWN, words[2], LINE)
    offsets = np.zeros(PRIME, dtype=np.int64)
    for bit, step in enumerate(STEPS):
        offsets[(1 << bit) % PRIME] = step[0] + nx * (step[1] + ny * step[2])
    rows[:, 0] += WORD  # the plane below the first
    return Grid(
        places=(x | y << x_bits | z << (x_bits + y_bits)).astype(np.uint32),
        columns=columns,
        rows=rows,
        offsets=offsets,
        x_bits=x_bits,
        y_bits=y_bits,
        nx=nx,
        plane=nx * ny,
        n_words=words[0] * words[1] * words[2],
        n_cells=nx * ny * nz,
        near=_bits(lambda step: 0 < sum(map(abs, step)) <= axes),
        edges=-1 if axes > 1 else 0,
        corners=-1 if axes > 2 else 0,
    )


def _codes(n: int, own: int, words: int, bits: int) -> Longs:
    """Of one axis: its part of codes, and steps to repetitions.

    `own` places of a word are its own, there are `words` words and `bits` bits from one to the next.
    """
    word, inside = np.divmod(np.arange(n, dtype=np.int64), own)
    across = own * bits - words * WORD
    step = np.where(inside == 0, across, np.where(inside == own - 1, -across, 0))
    return np.stack([(word + 1) * words * WORD + inside * bits, step], axis=1)


@compiled
def around(bitmap: Longs, first: int) -> int:
    """Which of the 27 places around a voxel are taken, as bits in the order of `STEPS`.

    `first` is the code of the first of them.
    """
    word, shift = first >> BITS, first & (WORD - 1)
    below = (bitmap[word - 1] >> shift) & IN_PLANE
    level = (bitmap[word] >> shift) & IN_PLANE
    above = (bitmap[word + 1] >> shift) & IN_PLANE
    return int(below | level << 3 | above << 6)


@compiled
def enter(bitmap: Longs, own: int, beside: int, across: int) -> None:
    """Set the bit of a voxel in its word and in the rims of the words around.

    Writing a bit twice where there is no rim is faster than asking whether there is one.
    """
    for code in (own, own + beside, own + across, own + beside + across):
        bitmap[code >> BITS] |= 1 << (code & (WORD - 1))


@compiled
def _spread(bits: int, edges: int, corners: int) -> int:
    """Bits of a window and their neighbours; bits beyond the window say nothing."""
    line = bits | (bits & NOT_LAST) << 1 | (bits & NOT_FIRST) >> 1
    start = bits | line & edges
    wall = line | start << 9 | start >> 9
    turned = start | (bits << 9 | bits >> 9) & edges | wall & corners
    return wall | (turned & NOT_ABOVE) << 3 | (turned & NOT_BELOW) >> 3


@compiled
def piece(there: int, near: int, edges: int, corners: int) -> tuple[int, int]:
    """One of the connected pieces into which a window falls without its centre.

    Parameters
    ----------
    there
        Bits of what is there around a voxel.
    near
        Of these, some neighbours of the voxel, at least one.
    edges, corners
        See `Grid`.

    Returns
    -------
    bit
        A neighbour that belongs to the piece; a face, which reaches furthest, if there is one.
    bits
        All that belong to it.
    """
    first = near & FACES
    if first == 0:
        first = near
    first &= -first
    found, last = _spread(first, edges, corners) & there, first
    while found not in (last, there):
        last = found
        found = _spread(found, edges, corners) & there
    return first, found


@compiled
def beyond(offsets: Longs, bit: int) -> int:
    """From a cell to that in the direction of a bit."""
    return int(offsets[np.uint32(bit) % np.uint32(PRIME)])
