"""How large the benchmarks are: `full` is what the goals are for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Sizes of all lines, and how often ours and the slow peers are measured."""

    shape: tuple[int, int, int]
    mask_voxels: int
    volumes: int
    long_volumes: int
    """Of the long run, of which only ours is measured: nilearn needs more than 20 GB for 1,200."""
    compared: tuple[tuple[int, int, int], int, int]
    """Shape, voxels of the mask and volumes of the runs of which results are compared, not times."""
    rows: int
    features: int
    permutations: tuple[int, int]
    """Of ours in a short and a long call: the difference is the time of permutations alone."""
    peer_permutations: tuple[int, int]
    maps: tuple[int, int]
    """Maps that ours and nilearn enhance in one measurement."""
    enhanced_permutations: tuple[int, int]
    """As `permutations`, with enhancement."""
    peer_enhanced_permutations: tuple[int, int]
    subjects: int
    ours: int
    peer: int


FULL = Size(
    (97, 115, 97),
    230_665,
    300,
    1200,
    ((49, 58, 49), 30_000, 120),
    60,
    230_665,
    (64, 1088),
    (20, 220),
    (32, 4),
    (32, 160),
    (2, 10),
    1000,
    5,
    2,
)
QUICK = Size(
    (97, 115, 97),
    230_665,
    150,
    600,
    ((49, 58, 49), 30_000, 120),
    60,
    230_665,
    (64, 576),
    (20, 120),
    (16, 2),
    (32, 96),
    (2, 6),
    1000,
    3,
    1,
)
TINY = Size(
    (24, 28, 25),
    6_000,
    150,
    300,
    ((24, 28, 25), 6_000, 120),
    20,
    3_000,
    (32, 1056),
    (10, 1010),
    (8, 2),
    (32, 288),
    (2, 6),
    6,
    1,
    1,
)
