"""From t to z for many values at once, for maps of rearranged statistics.

With u² = df log(1 + t² / df), z / u is a smooth function of u and 1 / df that lies between
sqrt(1 - 1 / (2 df)) and 1 (Wallace 1959, 10.1214/aoms/1177706092). It is read from a table, which is made
with the exact transform.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn.compiled import compiled
from conn.glm import f_to_z, t_to_z

Floats = NDArray[np.float64]

LEAST_DF = 0.5
ALONG_U, ALONG_DF = 1000, 500
"""Points of the table: along u / (1 + u) from 0 to 1 and along 1 / df from 0 to 1 / LEAST_DF."""

LARGEST_U = 36.0
LARGEST_EXPONENT = 600.0
"""Beyond these the table would ask for tails that nobody meets; the last ratio is kept."""


@cache
def _table() -> Floats:
    """Ratio z / u, ndarray of shape (ALONG_U, ALONG_DF)."""
    share = np.linspace(0, 1, ALONG_U)
    u = np.minimum(np.maximum(share, 1e-4) / np.maximum(1 - share, 1e-9), LARGEST_U)[:, None]
    df = 1 / np.maximum(np.linspace(0, 1 / LEAST_DF, ALONG_DF), 1e-6)[None, :]
    u = np.minimum(u, np.sqrt(LARGEST_EXPONENT * df))
    return np.asarray(t_to_z(np.sqrt(df * np.expm1(u * u / df)), df) / u)


def squared_to_z(v2: NDArray[Any], df: NDArray[Any]) -> NDArray[Any]:
    """Absolute z of squared t.

    Parameters
    ----------
    v2
        ndarray: squared statistic, at least 0.
    df
        ndarray of the same shape: degrees of freedom, at least 0.5.

    Returns
    -------
    ndarray of the shape and type of `v2`
        Within 2e-5 of the exact value (relative, beyond |z| = 0.1).
    """
    return np.asarray(_looked_up(v2.ravel(), df.ravel(), _table()).reshape(v2.shape))


def signed_z(t: NDArray[Any], df: NDArray[Any]) -> NDArray[Any]:
    """Deviates of many t: exact in float64, by the table in float32.

    Parameters
    ----------
    t, df
        ndarrays of one shape.
    """
    if t.dtype == np.float64:
        return t_to_z(t, df)
    return np.asarray(np.copysign(squared_to_z(np.square(t), df), t))


TABLE_TOLERANCE = 1e-4
"""Ties among values of which some went to z by the table and others exactly, see `conn.tiles.TOLERANCE`."""


@cache
def _table_of_f(rank: int) -> Floats:
    """Deviate z of an F of this rank, ndarray of shape (ALONG_U, ALONG_DF); a point is as in `_table`.

    Here u² = df log(1 + rank F / df), which is what the logarithm of the tail of F grows with.
    """
    share = np.linspace(0, 1, ALONG_U)
    u = np.minimum(share / np.maximum(1 - share, 1e-9), LARGEST_U)[:, None]
    df = 1 / np.maximum(np.linspace(0, 1 / LEAST_DF, ALONG_DF), 1e-6)[None, :]
    u = np.minimum(u, np.sqrt(LARGEST_EXPONENT * df))
    return f_to_z(df * np.expm1(u * u / df) / rank, rank, df)


def z_of_f(f: NDArray[Any], rank: int, df: NDArray[Any]) -> NDArray[Any]:
    """Deviates of many F of one rank: exact in float64, by a table in float32.

    Parameters
    ----------
    f, df
        ndarrays of one shape: F, at least 0, and its second degrees of freedom, at least 0.5.
    rank
        First degrees of freedom.

    Returns
    -------
    ndarray of the shape and type of `f`
        From the table within 1e-4 of the exact value.
    """
    if f.dtype == np.float64:
        return f_to_z(f, rank, df)
    return np.asarray(_from_table(f.ravel(), rank, df.ravel(), _table_of_f(rank)).reshape(f.shape))


@compiled
def _from_table(f: NDArray[Any], rank: int, df: NDArray[Any], table: Floats) -> NDArray[Any]:
    found = np.empty_like(f)
    rows, columns = table.shape[0] - 1, table.shape[1] - 1
    for i in range(f.size):
        u = np.sqrt(df[i] * np.log1p(rank * f[i] / df[i]))
        x = u / (1.0 + u) * rows
        y = min(LEAST_DF / df[i], 1.0) * columns
        a, b = min(int(x), rows - 1), min(int(y), columns - 1)
        right, up = x - a, y - b
        low = table[a, b] + right * (table[a + 1, b] - table[a, b])
        high = table[a, b + 1] + right * (table[a + 1, b + 1] - table[a, b + 1])
        found[i] = low + up * (high - low)
    return found


@compiled
def _looked_up(v2: NDArray[Any], df: NDArray[Any], table: Floats) -> NDArray[Any]:
    found = np.empty_like(v2)
    rows, columns = table.shape[0] - 1, table.shape[1] - 1
    for i in range(v2.size):
        u = np.sqrt(df[i] * np.log1p(v2[i] / df[i]))
        x = u / (1.0 + u) * rows
        y = min(LEAST_DF / df[i], 1.0) * columns
        a, b = min(int(x), rows - 1), min(int(y), columns - 1)
        right, up = x - a, y - b
        low = table[a, b] + right * (table[a + 1, b] - table[a, b])
        high = table[a, b + 1] + right * (table[a + 1, b + 1] - table[a, b + 1])
        found[i] = u * (low + up * (high - low))
    return found
