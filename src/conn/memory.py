"""How much memory a job needs: one model for `conn check` and for what the workflow asks a cluster for.

The numbers follow the arrays that stages project and measure hold at once; a test compares them with the
largest resident size of a process that does the work.
"""

from __future__ import annotations

from conn.correlation import BLOCK as MEASURE_BLOCK
from conn.images import READ_AHEAD
from conn.projection import PANEL

PYTHON_MB = 150
"""Interpreter, packages and what they allocate by themselves, in 10^6 bytes."""

SLACK = 1.08
"""Share of what arrays take that allocators and smaller arrays add, measured."""

FIRST_PROJECT_MB = 2000
FIRST_MEASURE_MB = 1500
"""What a job asks for at its first attempt; every further one asks for that much more. The workflow is
planned without opening an image, so these are constants that usual runs do not reach."""


def project_mb(
    k: int, held: int, mask: int, grid: int, volumes: int, itemsize: int, *, box: int = 0
) -> float:
    """Largest resident size of stage project for one run.

    While the image is read: k + 1 running sums per held voxel, `READ_AHEAD` panels of `PANEL` volumes in the
    image's own type, one whole volume, and squares and first volume in double precision. While maps are
    smoothed and put together: the coefficients of held voxels, twice those of the mask, three boxes.

    Parameters
    ----------
    k
        Degrees of freedom kept.
    held
        Voxels that are read: the mask, and what the smoothing kernel reaches from there.
    mask
        Voxels in the mask.
    grid
        Voxels of the image.
    volumes
        Number of volumes.
    itemsize
        Bytes of a number in the image.
    box
        Voxels of the box that is smoothed; 0 without smoothing.

    Returns
    -------
    float
        In 10^6 bytes.
    """
    sums = 4.0 * (k + 1) * held
    reading = READ_AHEAD * min(PANEL, volumes) * held * itemsize + grid * itemsize + 16.0 * held
    smoothing = 8.0 * k * mask + 12.0 * box if box else 0.0
    indices = 8.0 * grid + 24.0 * held
    basis = 24.0 * volumes**2
    return _total(sums + max(reading, smoothing) + indices + basis)


def measure_mb(k: int, mask: int, grid: int, maps: int, *, smoothed: bool) -> float:
    """Largest resident size of stage measure for one run.

    Parameters
    ----------
    k
        Degrees of freedom kept.
    mask
        Voxels in the mask.
    grid
        Voxels of the image.
    maps
        Number of seed maps.
    smoothed
        Whether maps are made from smoothed coefficients.

    Returns
    -------
    float
        In 10^6 bytes.
    """
    coefficients = 4.0 * k * mask * (2 if smoothed else 1)
    values = 4.0 * maps * mask
    block = 8.0 * MEASURE_BLOCK * (k + 4 * maps)
    return _total(coefficients + values + block + 17.0 * mask + 20.0 * grid)


def _total(array_bytes: float) -> float:
    return PYTHON_MB + SLACK * array_bytes / 1e6
