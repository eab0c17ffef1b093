"""Small matrices of many features side by side, so that every step is a plain loop over the features.

A matrix is an ndarray of shape (n, m, lanes); compiled loops, without checks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled

Floats = NDArray[np.float64]

LANES = 64
"""Features that are factored side by side; their matrices stay in the nearest cache."""


@compiled
def take(total: Floats, first: Floats, second: Floats) -> None:
    """Take the product of two vectors off a third. By itself, so that the compiler sees a plain loop."""
    for j in range(total.size):
        total[j] -= first[j] * second[j]


@compiled
def gain(total: Floats, first: Floats, second: Floats) -> None:
    """Add the product of two vectors to a third."""
    for j in range(total.size):
        total[j] += first[j] * second[j]


@compiled
def add(total: Floats, values: Floats, factor: float) -> None:
    """Add a multiple of a vector to another."""
    for j in range(total.size):
        total[j] += values[j] * factor


@compiled
def _divide(total: Floats, by: Floats) -> None:
    for j in range(total.size):
        total[j] /= by[j]


@compiled
def _root(pivot: Floats, floor: float, least: Floats) -> None:
    """Root of a pivot of at least `floor`; `least` keeps the smallest."""
    for j in range(pivot.size):
        least[j] = min(least[j], pivot[j])
        pivot[j] = np.sqrt(max(pivot[j], floor))


@compiled
def factor(a: Floats, floor: float, least: Floats) -> None:
    """Cholesky factors in the lower triangles of matrices (n, n, lanes), in place."""
    n = a.shape[0]
    for k in range(n):
        for m in range(k):
            take(a[k, k], a[k, m], a[k, m])
        _root(a[k, k], floor, least)
        for i in range(k + 1, n):
            for m in range(k):
                take(a[i, k], a[i, m], a[k, m])
            _divide(a[i, k], a[k, k])


@compiled
def inverse(lower: Floats, out: Floats) -> None:
    """Inverses of matrices (n, n, lanes) from their factors."""
    n = lower.shape[0]
    out[:] = 0.0
    for c in range(n):
        out[c, c] = 1.0
        for k in range(c, n):
            for m in range(c, k):
                take(out[k, c], lower[k, m], out[m, c])
            _divide(out[k, c], lower[k, k])
        for k in range(n - 1, -1, -1):
            for m in range(k + 1, n):
                take(out[k, c], lower[m, k], out[m, c])
            _divide(out[k, c], lower[k, k])


@compiled
def squared(lower: Floats, out: Floats) -> None:
    """Matrices (n, n, lanes) from their factors."""
    n = lower.shape[0]
    out[:] = 0.0
    for u in range(n):
        for w in range(u + 1):
            for m in range(w + 1):
                gain(out[u, w], lower[u, m], lower[w, m])
            out[w, u] = out[u, w]


@compiled
def weighted(cross: Floats, matrices: Floats, out: Floats) -> None:
    """Lower triangle of the sum over groups of cross products times matrices (Kronecker)."""
    n_groups, p, q = cross.shape[0], cross.shape[1], matrices.shape[1]
    for a in range(p):
        for c in range(a + 1):
            for u in range(q):
                for w in range(q):
                    total = out[a * q + u, c * q + w]
                    total[:] = 0.0
                    for g in range(n_groups):
                        add(total, matrices[g, u, w], cross[g, a, c])


@compiled
def add_squares(matrix: Floats, n: int, factor: float, total: Floats) -> None:
    """Add the trace of the square of the first n rows and columns."""
    for a in range(n):
        for c in range(n):
            for j in range(total.size):
                total[j] += factor * matrix[a, c, j] * matrix[c, a, j]
