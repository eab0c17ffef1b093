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
    short_volumes: int
    """Of the runs that are only compared."""
    rows: int
    features: int
    permutations: tuple[int, int]
    """Of ours in a short and a long call: the difference is the time of permutations alone."""
    peer_permutations: tuple[int, int]
    subjects: int
    ours: int
    peer: int


FULL = Size((97, 115, 97), 230_665, 300, 1200, 100, 60, 230_665, (64, 1088), (20, 220), 1000, 5, 2)
QUICK = Size((97, 115, 97), 230_665, 150, 600, 100, 60, 230_665, (64, 576), (20, 120), 1000, 3, 1)
TINY = Size((24, 28, 25), 6_000, 150, 300, 120, 20, 3_000, (32, 1056), (10, 1010), 6, 1, 1)
