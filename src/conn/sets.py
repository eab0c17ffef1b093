"""Connected sets that grow and meet while the height falls, and what their members gather meanwhile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

SIZE, SINCE, OWN, BEST = 0, 1, 2, 3
"""What is known of a connected set: its size; what the integral was when it got that size; what every member
has gathered since it belongs to the set; and what the best member had gathered before, beyond that."""


@compiled
def grown(sets: Floats, one: int, now: float, power: Floats) -> None:
    """Let the members of a set gather what there is down to a height."""
    if sets[one, SINCE] > now:
        sets[one, OWN] += power[int(sets[one, SIZE])] * (sets[one, SINCE] - now)
        sets[one, SINCE] = now


@compiled
def ended(parent: Ints, sets: Floats, power: Floats) -> None:
    """Let all sets gather what is left down to height 0."""
    for one in range(parent.size):
        if parent[one] == one:
            grown(sets, one, 0.0, power)


@compiled
def met(parent: Ints, sets: Floats, one: int, other: int) -> tuple[int, int, float]:
    """Let the smaller of two sets, both grown to the same height, join the larger one.

    Returns
    -------
    joined, into
        Which is which.
    ahead
        What the members of the first had gathered more than those of the second.
    """
    if sets[one, SIZE] > sets[other, SIZE]:
        one, other = other, one
    parent[one] = other
    sets[other, SIZE] += sets[one, SIZE]
    ahead = sets[one, OWN] - sets[other, OWN]
    sets[other, BEST] = max(sets[other, BEST], ahead + sets[one, BEST])
    return one, other, ahead


@compiled
def gathered_by(parent: Ints, sets: Floats, history: Ints, ahead: Floats) -> Floats:
    """What the first member of each set gathered in all; `history` holds which joined which, in order."""
    score = np.zeros(parent.size, dtype=np.float64)
    for one in range(parent.size):
        if parent[one] == one:
            score[one] = sets[one, OWN]
    # A set that joined another gathers what that one gathers from then on; the last to join comes first.
    for event in range(len(history) - 1, -1, -1):
        score[history[event, 0]] = ahead[event] + score[history[event, 1]]
    return score
