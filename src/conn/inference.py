"""Permutation tests of one contrast over many features, and family-wise error over several such tests."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from conn.errors import DesignError
from conn.glm import (
    Fit,
    Floats,
    Kernel,
    Model,
    fit,
    make_kernel,
    make_model,
    residuals,
    t_to_z,
    variance_and_df,
    z_to_t,
)
from conn.permutation import PermutationSet

# The shape of every matrix product. Constants, so that the bytes of a result depend neither on the memory
# that was allowed nor on the number of workers.
TILE_FEATURES = 1024
TILE_PERMUTATIONS = 32
MAP_FEATURES = 20_000
"""From this many features on, rearranged statistics are computed in float32."""

TOLERANCE = {"float64": 1e-9, "float32": 2e-5}
"""Statistics that differ by less count as ties: ``other >= own * (1 - tolerance) - tolerance``."""

_FLOOR = {"float64": 1e-13, "float32": 1e-6}
Scale = Literal["t", "z"]


@dataclass(frozen=True, eq=False)
class TestResult:
    """One contrast tested over features; arrays have shape (n_features,), NaN where not `valid`.

    Attributes
    ----------
    effect, se, stat, df
        Estimate in units of the data, standard error, t (or Aspin-Welch v), its degrees of freedom.
    scale
        ``t``, or ``z`` when degrees of freedom differ between features: the scale of `maxima`.
    p
        Uncorrected two-sided p by permutation.
    maxima
        ndarray of shape (n_set,): largest |statistic| over the valid features for every rearrangement, on
        `scale`, the observed one first. 0 when no feature is valid.
    valid
        Whether a feature was tested: all rows finite and residual variance (of each variance group) above 0.
    tolerance
        See `TOLERANCE`.
    smallest_p
        Smallest p that the permutation set can give.
    exact
        Whether the test is exact, see `PermutationSet`.
    permutations
        Digest of the permutation set.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    effect: Floats
    se: Floats
    stat: Floats
    df: Floats
    scale: Scale
    p: Floats
    maxima: Floats
    valid: NDArray[np.bool_]
    tolerance: float
    smallest_p: float
    exact: bool
    permutations: str

    def on_scale(self, scale: Scale) -> Floats:
        """Absolute statistic per feature on a scale."""
        return np.abs(self.stat) if scale == "t" else np.abs(t_to_z(self.stat, self.df))


def test(
    data: ArrayLike,
    matrix: ArrayLike,
    contrast: ArrayLike,
    permutations: PermutationSet,
    variance_groups: ArrayLike | None = None,
    *,
    block_bytes: int = 64 << 20,
    workers: int = 1,
    precision: Literal["auto", "float32", "float64"] = "auto",
) -> TestResult:
    """Test one contrast in every feature by rearranging residuals.

    Parameters
    ----------
    data
        array of shape (n, n_features); a memory map is read block by block. Not finite in any row: the
        feature is left out.
    matrix
        array of shape (n, p), full rank.
    contrast
        array of shape (p,).
    permutations
        Of n rows. The same set for all tests of a family.
    variance_groups
        array of shape (n,): rows of equal value share a variance. More than one value: Aspin-Welch v, every
        statistic goes to z by its own degrees of freedom. None: pooled t.
    block_bytes
        Bound on the residuals held at a time by one worker, at least one tile of 1024 features.
    workers
        Threads. Set BLAS threads to 1 when this is more than 1.
    precision
        Of the rearranged statistics. ``auto``: float32 from 20,000 features on, float64 otherwise and when a
        variance group has fewer than 5 degrees of freedom. What is observed is always float64.

    Returns
    -------
    TestResult
        The same bytes for any `block_bytes` and `workers`.

    Raises
    ------
    DesignError
        See `make_model`; also a permutation set of another number of rows.

    References
    ----------
    Freedman and Lane 1983, 10.2307/1391660; Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060.
    """
    model = make_model(matrix, contrast, variance_groups)
    values = np.asanyarray(data)
    _check_rows(values, model, permutations)
    dtype = _precision(precision, values.shape[1], model)
    job = _Job(make_kernel(model, permutations.kind), permutations, dtype)
    task = partial(_block, values, job)
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(task, _blocks(values.shape, job, block_bytes)))
    else:
        parts = [task(block) for block in _blocks(values.shape, job, block_bytes)]
    return _assemble(parts, job)


def _check_rows(values: NDArray[Any], model: Model, permutations: PermutationSet) -> None:
    n = model.matrix.shape[0]
    if values.ndim != 2 or values.shape[0] != n:
        raise DesignError(f"data has shape {values.shape}; the design matrix has {n} rows")
    if permutations.n_rows != n:
        raise DesignError(f"the permutations are for {permutations.n_rows} rows; the design matrix has {n}")


def _precision(asked: str, n_features: int, model: Model) -> type[np.floating[Any]]:
    if asked != "auto":
        return np.float32 if asked == "float32" else np.float64
    small_group = model.n_groups > 1 and model.group_df.min() < 5
    return np.float64 if n_features < MAP_FEATURES or small_group else np.float32


@dataclass(frozen=True, eq=False)
class _Job:
    """What is the same for all blocks of features."""

    kernel: Kernel
    permutations: PermutationSet
    dtype: type[np.floating[Any]]

    @property
    def model(self) -> Model:
        return self.kernel.model

    @property
    def scale(self) -> Scale:
        return "t" if self.model.n_groups == 1 else "z"

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.dtype.__name__]

    @property
    def slack(self) -> float:
        """Relative rounding that Wallace's bounds are widened by."""
        return 1e-12 if self.dtype is np.float64 else 1e-5

    @property
    def floor(self) -> float:
        """Share of the sum of squares below which a rearranged residual variance is rounding."""
        return _FLOOR[self.dtype.__name__]

    def lowered(self, stat: Floats) -> Floats:
        """The smallest statistic that counts as being as large as `stat`."""
        return np.asarray(stat * (1 - self.tolerance) - self.tolerance)

    def batches(self) -> list[slice]:
        n_set = self.permutations.n_set
        return [slice(i, min(i + TILE_PERMUTATIONS, n_set)) for i in range(0, n_set, TILE_PERMUTATIONS)]

    def rearranged(self, rows: Floats, batch: slice, *, squares: bool = False) -> NDArray[Any]:
        """Rows whose product with E (or its squares) is their product with PE (or its squares).

        The shape is (n_rows * TILE_PERMUTATIONS, n); a short batch is filled up with its first member.
        """
        table = self.permutations.table[batch]
        if len(table) < TILE_PERMUTATIONS:
            table = np.concatenate([table, np.repeat(table[:1], TILE_PERMUTATIONS - len(table), axis=0)])
        if self.permutations.kind == "flips":
            turned = rows[:, None, :] * (table**2 if squares else table)
        else:
            turned = rows[:, np.argsort(table, axis=1)]
        return np.ascontiguousarray(turned.reshape(-1, rows.shape[1]), dtype=self.dtype)


@dataclass(frozen=True, eq=False)
class _Part:
    """What one block of features gives."""

    fit: Fit
    counts: NDArray[np.int64]
    maxima: Floats


def _blocks(shape: tuple[int, ...], job: _Job, block_bytes: int) -> list[slice]:
    """Blocks of features: a number of whole tiles whose residuals stay below the bound."""
    n, n_features = shape
    per_tile = TILE_FEATURES * n * (8 + 2 * np.dtype(job.dtype).itemsize)
    size = TILE_FEATURES * max(1, block_bytes // per_tile)
    return [slice(i, min(i + size, n_features)) for i in range(0, n_features, size)]


def _block(values: NDArray[Any], job: _Job, block: slice) -> _Part:
    """Test a block of features: fit and residuals tile by tile, then all rearrangements."""
    starts = range(block.start, block.stop, TILE_FEATURES)
    tiles = [_tile(values, job, start) for start in starts]
    maxima = np.zeros(job.permutations.n_set)
    n_rows = len(job.kernel.rows) + len(job.kernel.indicators)
    space = np.empty((n_rows * TILE_PERMUTATIONS, _width(values.shape[1])), dtype=job.dtype)
    for batch in job.batches():
        rows = job.rearranged(job.kernel.rows, batch)
        inside = job.rearranged(job.kernel.indicators, batch, squares=True)
        for tile in tiles:
            if tile.columns.size:
                _statistics(tile, rows, inside, space, batch, maxima, job)
    return _Part(
        _stack([tile.fit for tile in tiles]), np.concatenate([tile.counts for tile in tiles]), maxima
    )


@dataclass(frozen=True, eq=False)
class _Tile:
    """Up to `TILE_FEATURES` features, padded to a fixed width with repeats of the last valid one.

    `columns` are the valid features; `residuals` (n, width) have length 1, `squares` are their squares;
    `limit` (n_valid,) is what a rearranged statistic must reach to count; `counts` adds up over batches.
    """

    fit: Fit
    columns: NDArray[np.int64]
    residuals: NDArray[Any]
    squares: NDArray[Any]
    limit: Floats
    counts: NDArray[np.int64]


def _tile(values: NDArray[Any], job: _Job, start: int) -> _Tile:
    data = np.asarray(values[:, start : start + TILE_FEATURES], dtype=np.float64)
    observed = fit(data, job.model)
    columns = np.flatnonzero(observed.valid)
    width = _width(values.shape[1])
    padded = columns[np.minimum(np.arange(width), columns.size - 1)] if columns.size else columns
    e = residuals(data[:, padded], job.model.nuisance)
    e = (e / np.linalg.norm(e, axis=0)).astype(job.dtype)
    stat = np.abs(observed.stat[padded])
    if job.scale == "z":
        stat = np.abs(t_to_z(stat, observed.df[padded]))
    squares = np.square(e) if job.scale == "z" else e[:0]
    return _Tile(
        observed,
        columns,
        e,
        squares,
        np.maximum(job.lowered(stat), 0),
        np.zeros(data.shape[1], dtype=np.int64),
    )


def _width(n_features: int) -> int:
    """Width of a tile: fixed for maps, smaller for a few edges."""
    return min(TILE_FEATURES, -(-n_features // 16) * 16)


def _statistics(
    tile: _Tile,
    rows: NDArray[Any],
    inside: NDArray[Any],
    space: NDArray[Any],
    batch: slice,
    maxima: Floats,
    job: _Job,
) -> None:
    """Add the counts of one batch of rearrangements to a tile and raise the maxima.

    `space` holds the products, so that they are not allocated again for each tile.
    """
    used = batch.stop - batch.start
    shape = (-1, TILE_PERMUTATIONS, space.shape[1])
    products = np.matmul(rows, tile.residuals, out=space[: len(rows)]).reshape(shape)
    np.square(products, out=products)
    if job.scale == "t":
        reached, best = _pooled(tile, products, used, job)
    else:
        sums = np.matmul(inside, tile.squares, out=space[len(rows) :]).reshape(shape)
        reached, best = _welch(tile, products, sums, maxima[batch], job)
    np.maximum(maxima[batch], best, out=maxima[batch])
    # A tile has fewer than 256 rearrangements, so that a byte holds the count.
    counts = np.add.reduce(reached[:used].view(np.uint8), axis=0, dtype=np.uint8)
    tile.counts[tile.columns] += counts[: tile.columns.size]


def _pooled(tile: _Tile, squared: NDArray[Any], used: int, job: _Job) -> tuple[NDArray[np.bool_], Floats]:
    """Pooled t by way of r^2, the share of the variance left by the nuisance that the effect explains."""
    share = squared[0]
    if len(squared) > 1:
        left = np.subtract(job.dtype(1), squared[1], out=squared[1])
        for other in squared[2:]:
            left -= other
        np.maximum(left, job.dtype(job.floor), out=left)
        share /= left
    df, limit = job.model.df, np.square(tile.limit)
    reached = share >= (limit / (df + limit)).astype(job.dtype)
    top = np.minimum(share[:used].max(axis=1).astype(np.float64), 1 - job.floor)
    return reached, np.sqrt(df * top / (1 - top))


def _welch(
    tile: _Tile, squared: NDArray[Any], sums: NDArray[Any], maxima: Floats, job: _Job
) -> tuple[NDArray[np.bool_], Floats]:
    """Aspin-Welch v to z. Wallace's bounds decide nearly all elements, the exact transform the others.

    With u^2 = df * log(1 + v^2 / df): u^2 * (1 - 1 / (2 df)) <= z^2 <= u^2 (Wallace 1959,
    10.1214/aoms/1177706092).
    """
    width = sums.shape[-1]
    forms = squared[1:].reshape(len(squared) - 1, -1)
    sums += (job.kernel.coefficients.astype(job.dtype) @ forms).reshape(-1, TILE_PERMUTATIONS, width)
    np.maximum(sums, job.dtype(job.floor), out=sums)
    variance, df = variance_and_df(job.model, sums)
    v2 = squared[0]
    v2 *= job.dtype(job.model.weights @ job.model.weights)
    v2 /= variance
    upper = np.log1p(v2 / df)
    upper *= df
    lower = upper * (1 - job.dtype(0.5) / df)
    reached = _reached(tile, v2, df, upper, lower, job)
    return reached, _maxima(v2, df, upper, lower, maxima, job)


def _exact(v2: NDArray[Any], df: NDArray[Any]) -> Floats:
    return t_to_z(np.sqrt(v2.astype(np.float64)), df.astype(np.float64))


def _reached(
    tile: _Tile, v2: NDArray[Any], df: NDArray[Any], upper: NDArray[Any], lower: NDArray[Any], job: _Job
) -> NDArray[np.bool_]:
    """Whether each rearranged |z| is as large as the observed one."""
    limit = np.square(tile.limit)
    sure = lower >= (limit * (1 + job.slack)).astype(job.dtype)
    maybe = upper >= (limit * (1 - job.slack)).astype(job.dtype)
    maybe &= ~sure
    where = np.flatnonzero(maybe)
    sure.reshape(-1)[where] = (
        _exact(v2.reshape(-1)[where], df.reshape(-1)[where]) >= tile.limit[where % tile.limit.size]
    )
    return sure


def _maxima(
    v2: NDArray[Any], df: NDArray[Any], upper: NDArray[Any], lower: NDArray[Any], maxima: Floats, job: _Job
) -> Floats:
    """Largest |z| of each rearrangement; elements that cannot beat what is known are not transformed."""
    known = lower.max(axis=1).astype(np.float64)
    known[: maxima.size] = np.maximum(known[: maxima.size], np.square(maxima))
    worth = upper >= (known * (1 - job.slack)).astype(job.dtype)[:, None]
    where = np.flatnonzero(worth)
    best = np.zeros(TILE_PERMUTATIONS)
    np.maximum.at(best, where // worth.shape[1], _exact(v2.reshape(-1)[where], df.reshape(-1)[where]))
    return best[: maxima.size]


def _stack(fits: Sequence[Fit]) -> Fit:
    names = ("effect", "se", "stat", "df", "valid")
    return Fit(*(np.concatenate([getattr(f, name) for f in fits]) for name in names))


def _assemble(parts: Sequence[_Part], job: _Job) -> TestResult:
    whole = _stack([part.fit for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    maxima = np.max([part.maxima for part in parts], axis=0)
    n_set = job.permutations.n_set
    result = TestResult(
        whole.effect,
        whole.se,
        whole.stat,
        whole.df,
        job.scale,
        np.where(whole.valid, np.maximum(counts, 1) / n_set, np.nan),
        maxima,
        whole.valid,
        job.tolerance,
        job.permutations.smallest_p,
        job.permutations.exact,
        job.permutations.digest,
    )
    # The identity is what was observed, in full precision.
    if whole.valid.any():
        maxima[0] = np.nanmax(result.on_scale(job.scale))
    return result


@dataclass(frozen=True, eq=False)
class Corrected:
    """Family-wise results of one test; arrays of shape (n_features,), NaN where nothing was tested.

    `p_fwe` is within the family. `ci_low`, `ci_high` are marginal (t with the feature's own degrees of
    freedom), `ci_sim_low`, `ci_sim_high` hold for all features of the family at once and exclude 0 exactly
    when ``p_fwe <= alpha``. They are infinite when the permutation set is too small to reach alpha.
    """

    p_fwe: Floats
    ci_low: Floats
    ci_high: Floats
    ci_sim_low: Floats
    ci_sim_high: Floats


@dataclass(frozen=True, eq=False)
class FamilyResult:
    """Several tests corrected as one family.

    Attributes
    ----------
    results
        One `Corrected` per test, in the order given.
    critical
        A |statistic| above this, on `scale`, has ``p_fwe <= alpha``; infinite when none can.
    scale
        ``t`` or ``z``.
    maxima
        ndarray of shape (n_set,): largest statistic of the family for every rearrangement.
    n_features
        Number of features tested.
    n_permutations
        Size of the set, the identity counted once.
    smallest_p
        Smallest p the set can give.
    exact
        Whether control is exact (else approximate).
    alpha
        As asked.
    """

    results: tuple[Corrected, ...]
    critical: float
    scale: Scale
    maxima: Floats
    n_features: int
    n_permutations: int
    smallest_p: float
    exact: bool
    alpha: float


def correct(results: Sequence[TestResult], alpha: float = 0.05) -> FamilyResult:
    """Family-wise p and simultaneous intervals over all features of several tests.

    Parameters
    ----------
    results
        Tests made with the same permutation set. When degrees of freedom differ, all go to z.
    alpha
        Family-wise error; intervals have coverage 1 - alpha.

    Returns
    -------
    FamilyResult

    Raises
    ------
    DesignError
        No test, alpha outside (0, 1), or tests with different permutation sets.

    References
    ----------
    Westfall and Young 1993; Nichols and Holmes 2002, 10.1002/hbm.1058.
    """
    _check_family(results, alpha)
    scale = _common_scale(results)
    maxima = np.max([_maxima_on(scale, r) for r in results], axis=0)
    tolerance = max(r.tolerance for r in results)
    smallest_p = max(r.smallest_p for r in results)
    critical = _critical(maxima, alpha, tolerance) if smallest_p <= alpha else float("inf")
    sorted_maxima = np.sort(maxima)
    corrected = [_correct_one(r, scale, sorted_maxima, critical, alpha, tolerance) for r in results]
    return FamilyResult(
        tuple(corrected),
        critical,
        scale,
        maxima,
        int(sum(r.valid.sum() for r in results)),
        maxima.size,
        smallest_p,
        all(r.exact for r in results),
        alpha,
    )


def _check_family(results: Sequence[TestResult], alpha: float) -> None:
    if not results:
        raise DesignError("a family needs at least one test")
    if not 0 < alpha < 1:
        raise DesignError(f"alpha is {alpha}; it must lie between 0 and 1")
    if len({r.permutations for r in results}) > 1:
        raise DesignError(
            "tests of one family were made with different permutation sets, so their maxima cannot be "
            "compared. Use one set for all tests of a contrast."
        )


def _common_scale(results: Sequence[TestResult]) -> Scale:
    df = np.concatenate([r.df[r.valid] for r in results])
    differs = df.size > 0 and bool((df != df[0]).any())
    return "z" if differs or any(r.scale == "z" for r in results) else "t"


def _maxima_on(scale: Scale, result: TestResult) -> Floats:
    """Maxima on the scale of the family; within a pooled test all degrees of freedom are equal."""
    if scale == result.scale or not result.valid.any():
        return result.maxima
    return t_to_z(result.maxima, result.df[result.valid][0])


def _critical(maxima: Floats, alpha: float, tolerance: float) -> float:
    """The value a statistic must exceed for p_fwe <= alpha, ties within the tolerance included."""
    n_set = maxima.size
    allowed = int(np.searchsorted(np.arange(1, n_set + 1) / n_set, alpha, side="right"))
    if allowed == 0:
        return float("inf")
    return float((np.sort(maxima)[n_set - 1 - allowed] + tolerance) / (1 - tolerance))


def _correct_one(
    result: TestResult, scale: Scale, maxima: Floats, critical: float, alpha: float, tolerance: float
) -> Corrected:
    stat = result.on_scale(scale)
    below = np.searchsorted(maxima, stat * (1 - tolerance) - tolerance, side="left")
    p_fwe = np.where(result.valid, np.maximum(maxima.size - below, 1) / maxima.size, np.nan)
    marginal = special.stdtrit(result.df, 1 - alpha / 2) * result.se
    own = np.full_like(result.df, critical) if scale == "t" else z_to_t(critical, result.df)
    half = _agree(own * result.se, result.effect, p_fwe <= alpha)
    return Corrected(
        p_fwe,
        result.effect - marginal,
        result.effect + marginal,
        np.where(result.valid, result.effect - half, np.nan),
        np.where(result.valid, result.effect + half, np.nan),
    )


ROUNDING = 1e-8
"""Relative difference between the two routes from a critical value to an interval that is rounding."""


def _agree(half: Floats, effect: Floats, significant: NDArray[np.bool_]) -> Floats:
    """Half widths without their last rounding: significant means 0 is outside, else 0 is inside.

    Only where the half width and the effect differ by rounding; anything more would be an error of the method
    and must show.
    """
    size = np.abs(effect)
    agreed = np.where(significant, np.minimum(half, np.nextafter(size, 0)), np.maximum(half, size))
    return np.where(np.abs(half - size) <= ROUNDING * size, agreed, half)
