"""Johansen's A in many features at once: what an F loses because covariances of groups are estimated.

With P_g the share of a group in the covariance of what is tested, A is half of ``tr(P_g^2) + tr(P_g)^2``
over the degrees of freedom of the group, summed. `conn.freedom` has the same for one value in a row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled
from conn.lanes import add, add_squares, factor, gain, inverse, take, weighted

Floats = NDArray[np.float64]


@compiled
def compared(precision: Floats, rows: Floats, group_df: Floats, work: Floats, out: Floats) -> None:
    """A of a contrast that compares all groups.

    P is the identity minus a group's share of the summed precisions of the groups' means.

    Parameters
    ----------
    precision
        ndarray of shape (n_groups, q, q, lanes): inverse covariances of the groups.
    rows, group_df
        ndarrays of shape (n_groups,).
    work
        ndarray of shape (q, q, lanes), overwritten.
    out
        ndarray of shape (lanes,): A.
    """
    q = work.shape[0]
    share, whole = np.empty_like(work), np.empty_like(work)
    trace, least = np.empty_like(out), np.empty_like(out)
    work[:] = 0.0
    for g in range(rows.size):
        for u in range(q):
            for w in range(u + 1):
                add(work[u, w], precision[g, u, w], rows[g])
    factor(work, 1e-300, least)
    inverse(work, whole)
    out[:] = 0.0
    for g in range(rows.size):
        share[:] = 0.0
        trace[:] = 0.0
        for u in range(q):
            share[u, u] = 1 / rows[g]
            for w in range(q):
                for m in range(q):
                    take(share[u, w], whole[u, m], precision[g, m, w])
            add(trace, share[u, u], 1.0)
        half = rows[g] * rows[g] / (2 * group_df[g])
        for j in range(out.size):
            out[j] += half * trace[j] * trace[j]
        for u in range(q):
            for w in range(q):
                for j in range(out.size):
                    out[j] += half * share[u, w, j] * share[w, u, j]


@compiled
def contrasted(
    loads: Floats, own: Floats, group_df: Floats, several: bool, work: Floats, first: Floats, second: Floats
) -> None:
    """A of any contrast, from the groups that it uses.

    Parameters
    ----------
    loads
        ndarray of shape (n_groups, r, r), see `conn.freedom.group_loads`.
    own
        ndarray of shape (n_groups, q, q, lanes): covariances of the groups.
    group_df
        ndarray of shape (n_groups,).
    several
        Whether a group has several means in what is tested. Then the mean of F needs another A than its
        variance; otherwise both are the same.
    work
        ndarray of shape (4, r * q, r * q, lanes), overwritten.
    first, second
        ndarrays of shape (lanes,): both forms of A.
    """
    weighted(loads, own, work[0])
    factor(work[0], 1e-300, first)
    inverse(work[0], work[1])
    first[:], second[:] = 0.0, 0.0
    for g in range(group_df.size):
        _add_combined(loads[g], own[g], work[1], group_df[g], work[2], work[3], second)
        if several:
            _add_apart(loads[g], own[g], work[1], group_df[g], work[2], work[3], first)
    if not several:
        first[:] = second


@compiled
def _add_combined(
    loads: Floats, own: Floats, back: Floats, df: float, work: Floats, out: Floats, total: Floats
) -> None:
    """Add what a group has in Johansen's A: half of tr(P²) + tr(P)² over its degrees of freedom.

    P (q x q) is its covariance times the blocks of `back`, the inverse of the covariance of what is tested,
    summed with `loads`. With several means of the group in what is tested, the variance of F has this.
    """
    r, q = loads.shape[0], own.shape[0]
    for u in range(q):
        for w in range(u + 1):
            work[u, w] = 0.0
            for a in range(r):
                add(work[u, w], back[a * q + u, a * q + w], loads[a, a])
                for c in range(a):
                    add(work[u, w], back[a * q + u, c * q + w], loads[a, c])
                    add(work[u, w], back[c * q + u, a * q + w], loads[a, c])
            work[w, u] = work[u, w]
    for u in range(q):
        for w in range(q):
            out[u, w] = 0.0
            for k in range(q):
                gain(out[u, w], own[u, k], work[k, w])
    add_squares(out, q, 1 / (2 * df), total)
    for u in range(1, q):
        add(out[0, 0], out[u, u], 1.0)
    add_squares(out, 1, 1 / (2 * df), total)


@compiled
def _add_apart(
    loads: Floats, own: Floats, back: Floats, df: float, work: Floats, out: Floats, total: Floats
) -> None:
    """Add the same where a group has several means in what is tested, as the mean of F has it.

    The share D of the group is (loads x own) times `back`; tr(P)² is now that of the traces of blocks of D.
    """
    r, q = loads.shape[0], own.shape[0]
    s = r * q
    for a in range(s):
        for c in range(s):
            work[a, c] = 0.0
            add(work[a, c], own[a % q, c % q], loads[a // q, c // q])
    for a in range(s):
        for c in range(s):
            out[a, c] = 0.0
            for k in range(s):
                gain(out[a, c], work[a, k], back[k, c])
    add_squares(out, s, 1 / (2 * df), total)
    for a in range(r):
        for c in range(r):
            work[a, c] = 0.0
            for u in range(q):
                add(work[a, c], out[a * q + u, c * q + u], 1.0)
    add_squares(work, r, 1 / (2 * df), total)
