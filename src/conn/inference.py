"""Permutation tests of one contrast over many features, and family-wise error over several such tests."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from conn.enhancement import Enhancer, enhanced
from conn.errors import DesignError
from conn.glm import Fit, Floats, Model, make_kernel, make_model, t_to_z, z_to_t
from conn.permutation import PermutationSet
from conn.tiles import (
    MAP_FEATURES,
    TILE_FEATURES,
    TILE_PERMUTATIONS,
    Job,
    Scale,
    Tile,
    make_tile,
    squared_v,
    tile_width,
)


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
        See `conn.tiles.TOLERANCE`.
    smallest_p
        Smallest p that the permutation set can give.
    exact
        Whether the test is exact, see `PermutationSet`.
    permutations
        Digest of the permutation set.
    score, score_maxima
        With an enhancement: the score of each feature, of shape (n_features,), and the largest absolute score
        for every rearrangement, of shape (n_set,), the observed one first. Empty without.
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
    score: Floats = field(default_factory=lambda: np.empty(0))
    score_maxima: Floats = field(default_factory=lambda: np.empty(0))

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
    enhance: Enhancer | None = None,
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
    enhance
        What turns every map of the statistic (t, or z when degrees of freedom differ) into scores, over a
        graph of the features of `data`; see `conn.tfce` and
        `conn.suprathreshold`. None: nothing.

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
    job = Job(make_kernel(model, permutations.kind), permutations, dtype)
    task = partial(_block, values, job)
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(task, _blocks(values.shape, job, block_bytes)))
    else:
        parts = [task(block) for block in _blocks(values.shape, job, block_bytes)]
    result = _assemble(parts, job)
    if enhance is None:
        return result
    observed = np.where(result.valid, np.copysign(result.on_scale(job.scale), result.stat), np.nan)
    score, maxima = enhanced(values, job, enhance, observed)
    return replace(result, score=score, score_maxima=maxima)


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
class _Part:
    """What one block of features gives."""

    fit: Fit
    counts: NDArray[np.int64]
    maxima: Floats


def _blocks(shape: tuple[int, ...], job: Job, block_bytes: int) -> list[slice]:
    """Blocks of features: a number of whole tiles whose residuals stay below the bound."""
    n, n_features = shape
    per_tile = TILE_FEATURES * n * (8 + 2 * np.dtype(job.dtype).itemsize)
    size = TILE_FEATURES * max(1, block_bytes // per_tile)
    return [slice(i, min(i + size, n_features)) for i in range(0, n_features, size)]


def _block(values: NDArray[Any], job: Job, block: slice) -> _Part:
    """Test a block of features: fit and residuals tile by tile, then all rearrangements."""
    starts = range(block.start, block.stop, TILE_FEATURES)
    tiles = [make_tile(values, job, start) for start in starts]
    maxima = np.zeros(job.permutations.n_set)
    n_rows = len(job.kernel.rows) + len(job.kernel.indicators)
    space = np.empty((n_rows * TILE_PERMUTATIONS, tile_width(values.shape[1])), dtype=job.dtype)
    for batch in job.batches():
        rows = job.rearranged(job.kernel.rows, batch)
        inside = job.rearranged(job.kernel.indicators, batch, squares=True)
        for tile in tiles:
            if tile.columns.size:
                _statistics(tile, rows, inside, space, batch, maxima, job)
    return _Part(
        _stack([tile.fit for tile in tiles]), np.concatenate([tile.counts for tile in tiles]), maxima
    )


def _statistics(
    tile: Tile,
    rows: NDArray[Any],
    inside: NDArray[Any],
    space: NDArray[Any],
    batch: slice,
    maxima: Floats,
    job: Job,
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


def _pooled(tile: Tile, squared: NDArray[Any], used: int, job: Job) -> tuple[NDArray[np.bool_], Floats]:
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
    tile: Tile, squared: NDArray[Any], sums: NDArray[Any], maxima: Floats, job: Job
) -> tuple[NDArray[np.bool_], Floats]:
    """Aspin-Welch v to z. Wallace's bounds decide nearly all elements, the exact transform the others.

    With u^2 = df * log(1 + v^2 / df): u^2 * (1 - 1 / (2 df)) <= z^2 <= u^2 (Wallace 1959,
    10.1214/aoms/1177706092).
    """
    v2, df = squared_v(squared, sums, job)
    upper = np.log1p(v2 / df)
    upper *= df
    lower = upper * (1 - job.dtype(0.5) / df)
    reached = _reached(tile, v2, df, upper, lower, job)
    return reached, _maxima(v2, df, upper, lower, maxima, job)


def _exact(v2: NDArray[Any], df: NDArray[Any]) -> Floats:
    return t_to_z(np.sqrt(v2.astype(np.float64)), df.astype(np.float64))


def _reached(
    tile: Tile, v2: NDArray[Any], df: NDArray[Any], upper: NDArray[Any], lower: NDArray[Any], job: Job
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
    v2: NDArray[Any], df: NDArray[Any], upper: NDArray[Any], lower: NDArray[Any], maxima: Floats, job: Job
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


def _assemble(parts: Sequence[_Part], job: Job) -> TestResult:
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
        ``t``, ``z``, or ``score`` when scores were corrected.
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
    scale: Scale | Literal["score"]
    maxima: Floats
    n_features: int
    n_permutations: int
    smallest_p: float
    exact: bool
    alpha: float


SCORE_TOLERANCE = 1e-4
"""Scores that differ by less, relatively, count as ties: rearranged maps of many features are in float32."""


def correct_scores(results: Sequence[TestResult], alpha: float = 0.05) -> FamilyResult:
    """Family-wise p of enhanced scores over all features of several tests.

    Parameters
    ----------
    results
        Tests made with the same permutation set and the same enhancement.
    alpha
        Family-wise error; marginal intervals have coverage 1 - alpha. There are no simultaneous intervals:
        what is tested is the score, not the size of an effect.

    Returns
    -------
    FamilyResult
        On the scale ``score``.

    Raises
    ------
    DesignError
        As `correct`; also a test without scores.

    References
    ----------
    Smith and Nichols 2009, 10.1016/j.neuroimage.2008.03.061.
    """
    _check_family(results, alpha)
    if any(r.score.size != r.valid.size for r in results):
        raise DesignError("a family of scores needs tests that were enhanced; test again with an enhancement")
    maxima = np.max([r.score_maxima for r in results], axis=0)
    smallest_p = max(r.smallest_p for r in results)
    critical = _critical(maxima, alpha, SCORE_TOLERANCE) if smallest_p <= alpha else float("inf")
    ordered = np.sort(maxima)
    corrected = [_correct_score(r, ordered, alpha) for r in results]
    n_features = int(sum(r.valid.sum() for r in results))
    exact = all(r.exact for r in results)
    return FamilyResult(
        tuple(corrected), critical, "score", maxima, n_features, maxima.size, smallest_p, exact, alpha
    )


def _correct_score(result: TestResult, maxima: Floats, alpha: float) -> Corrected:
    limit = np.abs(result.score) * (1 - SCORE_TOLERANCE)
    below = np.searchsorted(maxima, np.nan_to_num(limit), side="left")
    p_fwe = np.where(result.valid, np.maximum(maxima.size - below, 1) / maxima.size, np.nan)
    marginal = special.stdtrit(result.df, 1 - alpha / 2) * result.se
    gone = np.full_like(result.effect, np.nan)
    return Corrected(p_fwe, result.effect - marginal, result.effect + marginal, gone, gone)


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
    scale = common_scale(results)
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


def common_scale(results: Sequence[TestResult]) -> Scale:
    """The scale on which the statistics of several tests are comparable."""
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
