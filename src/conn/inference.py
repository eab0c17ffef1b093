"""Permutation tests of one contrast over many features, and family-wise error over several such tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from conn.covariate import adjusted
from conn.covariate_welch import unequal
from conn.enhancement import Enhancer, enhanced
from conn.errors import DesignError
from conn.general import general
from conn.glm import Fit, Floats, Model, magnitude, make_model, z_to_t
from conn.multivariate import blocks
from conn.multivariate_covariate import adjusted_blocks
from conn.permutation import PermutationSet
from conn.sandwich import robust
from conn.shared import shared
from conn.tiles import MAP_FEATURES, TILE_FEATURES, Job, Scale
from conn.welch_james import welch_james


@dataclass(frozen=True, eq=False)
class TestResult:
    """One contrast tested over features; arrays have shape (n_features,), NaN where not `valid`.

    Attributes
    ----------
    effect, se, stat, df
        Estimate in units of the data, standard error, t (or Aspin-Welch v), its degrees of freedom. For F (or
        G, or the F of Wilks' lambda) `df` is the second of its degrees of freedom, and estimate and standard
        error are NaN.
    rank
        First degrees of freedom of F; 0 for t.
    scale
        ``t`` or ``F``, or ``z`` when degrees of freedom differ between features: the scale of `maxima`.
    p
        Uncorrected two-sided p by permutation.
    maxima
        ndarray of shape (n_set,): largest |statistic| over the valid features for every rearrangement, on
        `scale`, the observed one first. 0 when no feature is valid.
    valid
        Whether a feature was tested: enough rows finite, residual variance (of each variance group) above 0.
    tolerance
        See `conn.tiles.TOLERANCE`.
    smallest_p
        Smallest p that the permutation set can give.
    least_p
        One over the number of distinct rearrangements that exist, of which the set may hold a few.
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
    rank: int = 0
    least_p: float = 0.0

    def on_scale(self, scale: Scale) -> Floats:
        """Absolute statistic per feature on a scale."""
        if scale == "F":
            return self.stat
        return magnitude(self.stat, self.df, self.rank or None, scale)


FEWEST_IN_CELL = 3
"""Rows with a value that every cell of the design needs where some are missing."""


def test(
    data: ArrayLike,
    matrix: ArrayLike,
    contrast: ArrayLike,
    permutations: PermutationSet,
    variance_groups: ArrayLike | None = None,
    *,
    covariate: ArrayLike | None = None,
    cells: ArrayLike | None = None,
    min_share: float = 1.0,
    own_variances: bool = False,
    block_bytes: int = 64 << 20,
    workers: int = 1,
    precision: Literal["auto", "float32", "float64"] = "auto",
    enhance: Enhancer | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> TestResult:
    """Test one contrast in every feature by rearranging residuals.

    Parameters
    ----------
    data
        array of shape (n, n_features); a memory map is read block by block. With several values in a row
        (more than two time points within people), of shape (q, n, n_features): Hotelling's T² or Wilks'
        lambda of all values together.
    matrix
        array of shape (n, p), full rank.
    contrast
        array of shape (p,): t; or (r, p): F.
    permutations
        Of n rows. The same set for all tests of a family.
    variance_groups
        array of shape (n,): rows of equal value share a variance. More than one value: Aspin-Welch v, or G
        for F, or Johansen's statistic with several values in a row; every statistic goes to z by its own
        degrees of freedom. None: pooled.
    covariate
        array of the shape of `data`: a further column of the design that each feature has for itself, such
        as its baseline. It is nuisance, and residuals are those of the matrix and it. Of shape
        (c, n, n_features) beside rows of several values: c columns, each of them nuisance of all values.
    cells
        array of shape (n,): cell of the design of each row. None: all are one cell.
    min_share
        Share of rows with a value from which a feature is tested. 1: all. Where rows are missing, a
        rearrangement moves residuals with their gaps over all n rows, what receives a gap is left out, and
        the statistic goes to z by its own degrees of freedom, and so do all others then. A cell with fewer
        than 3 values takes the feature out.
    own_variances
        Each row has an error variance of its own: t over a heteroscedasticity-consistent standard error
        (HC3). Only for t of one value in a row, and not together with variance groups.
    block_bytes
        Bound on the residuals held at a time by one worker, at least one tile of features.
    workers
        Threads. Set BLAS threads to 1 when this is more than 1.
    precision
        Of the rearranged statistics. ``auto``: float32 from 20,000 features on, float64 otherwise and when a
        variance group has fewer than 5 degrees of freedom. What is observed is always float64.
    enhance
        What turns every map of the statistic (t, root of F, or z when degrees of freedom differ) into scores,
        over a graph of the features of `data`; see `conn.tfce` and `conn.suprathreshold`. None: nothing.
    progress
        Is told now and then which share of the work is done, from 0 to 1; with an enhancement twice.

    Returns
    -------
    TestResult
        The same bytes for any `block_bytes` and `workers`.

    Raises
    ------
    DesignError
        See `make_model`; also a permutation set of another number of rows, arrays that do not fit each other,
        or rows of several values with what they cannot have.

    References
    ----------
    Freedman and Lane 1983, 10.2307/1391660; Winkler et al. 2014, 10.1016/j.neuroimage.2014.01.060.
    """
    model = make_model(matrix, contrast, variance_groups)
    values = np.asanyarray(data)
    own = None if covariate is None else np.asanyarray(covariate)
    _check_rows(values, own, model, permutations)
    dtype = _precision(precision, values.shape[-1], model)
    _check_variances(values, model, own_variances)
    partly = _partly(values, own, cells, min_share)
    jobs = _jobs(values, own, model, permutations, dtype, partly, own_variances)
    tasks = [(job, block) for job in jobs for block in _blocks(job, block_bytes, workers)]
    told = _Progress(progress, sum(len(job.batches()) for job, _ in tasks))
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(lambda task: _block(task[0], task[1], told), tasks))
    else:
        parts = [_block(job, block, told) for job, block in tasks]
    result = _assemble(parts, jobs, values.shape[-1])
    if enhance is None:
        return result
    scale: Scale = "z" if result.scale == "z" else jobs[0].scale
    size = magnitude(result.stat, result.df, result.rank or None, scale)
    observed = np.where(result.valid, np.copysign(size, result.stat), np.nan)
    told = _Progress(progress, len(jobs[0].batches()))
    score, maxima = enhanced(jobs, enhance, observed, told.step, workers)
    return replace(result, score=score, score_maxima=maxima)


class _Progress:
    """Counts steps of several threads and tells the share that is done."""

    def __init__(self, tell: Callable[[float], None], total: int) -> None:
        self._tell, self._total, self._done, self._lock = tell, total, 0, Lock()

    def step(self, count: int = 1) -> None:
        """One more step is done, or several."""
        with self._lock:
            self._done += count
            self._tell(self._done / self._total)


def _check_rows(
    values: NDArray[Any], own: NDArray[Any] | None, model: Model, permutations: PermutationSet
) -> None:
    n = model.matrix.shape[0]
    if values.ndim not in (2, 3) or values.shape[-2] != n:
        raise DesignError(f"data has shape {values.shape}; the design matrix has {n} rows")
    if permutations.n_rows != n:
        raise DesignError(f"the permutations are for {permutations.n_rows} rows; the design matrix has {n}")
    several = values.ndim == 3
    if several and own is not None and (own.ndim != 3 or own.shape[1:] != values.shape[1:]):
        raise DesignError(
            f"the covariates have shape {own.shape} and the data {values.shape}; rows and features must be "
            "equal"
        )
    if own is not None and not several and own.shape != values.shape:
        raise DesignError(
            f"the covariate has shape {own.shape} and the data {values.shape}; they must be equal"
        )


def _check_variances(values: NDArray[Any], model: Model, own_variances: bool) -> None:
    if own_variances and (model.n_groups > 1 or model.contrast.ndim == 2 or values.ndim == 3):
        raise DesignError(
            "a variance of each row's own is for t of one value in a row, without variance groups; leave "
            "own_variances out"
        )


def _precision(asked: str, n_features: int, model: Model) -> type[np.floating[Any]]:
    if asked != "auto":
        return np.float32 if asked == "float32" else np.float64
    small_group = model.n_groups > 1 and model.group_df.min() < 5
    return np.float64 if n_features < MAP_FEATURES or small_group else np.float32


def _partly(
    values: NDArray[Any], own: NDArray[Any] | None, cells: ArrayLike | None, min_share: float
) -> NDArray[np.bool_]:
    """Features with missing rows that are tested all the same, of shape (n_features,)."""
    if not 0 < min_share <= 1:
        raise DesignError(f"min_share is {min_share}; it must be above 0 and at most 1")
    if min_share == 1:
        return np.zeros(values.shape[-1], dtype=bool)
    if values.ndim == 3:
        raise DesignError("rows of several values need all of them; leave min_share at 1")
    n, n_features = values.shape
    codes = np.zeros(n, dtype=np.int64) if cells is None else np.asarray(cells)
    chosen = np.zeros(n_features, dtype=bool)
    for start in range(0, n_features, 8 * TILE_FEATURES):
        part = slice(start, start + 8 * TILE_FEATURES)
        there = np.isfinite(values[:, part])
        if own is not None:
            there &= np.isfinite(own[:, part])
        enough = [there[codes == code].sum(axis=0) >= FEWEST_IN_CELL for code in np.unique(codes)]
        total = there.sum(axis=0)
        chosen[part] = (total < n) & (total >= min_share * n) & np.all(enough, axis=0)
    return chosen


def _jobs(
    values: NDArray[Any],
    own: NDArray[Any] | None,
    model: Model,
    permutations: PermutationSet,
    dtype: type[np.floating[Any]],
    partly: NDArray[np.bool_],
    own_variances: bool,
) -> list[Job]:
    """The fastest way for the features with all rows, and the general one for those with some missing."""
    features, as_z = np.flatnonzero(~partly), bool(partly.any())
    is_t = model.contrast.ndim == 1
    first: Job
    if values.ndim == 3 and own is not None:
        first = adjusted_blocks(values, own, model, permutations, features, dtype)
    elif values.ndim == 3:
        make = blocks if model.n_groups == 1 else welch_james
        first = make(values, model, permutations, features, dtype)
    elif own is None:
        first = _without_covariate(values, model, permutations, features, dtype, as_z, own_variances)
    elif own_variances or (model.n_groups > 1 and not (model.n_groups == 2 and is_t)):
        first = general(values, model, permutations, features, dtype, own, own_variances)
    elif model.n_groups == 2:
        first = unequal(values, own, model, permutations, features, dtype)
    else:
        first = adjusted(values, own, model, permutations, features, dtype, as_z)
    if not as_z:
        return [first]
    rest = general(values, model, permutations, np.flatnonzero(partly), dtype, own, own_variances)
    return [first, rest] if features.size else [rest]


def _without_covariate(
    values: NDArray[Any],
    model: Model,
    permutations: PermutationSet,
    features: NDArray[np.int64],
    dtype: type[np.floating[Any]],
    as_z: bool,
    own_variances: bool,
) -> Job:
    """By one variance, one of each row, or those of groups; v of two groups has the shortest way."""
    if own_variances:
        return robust(values, model, permutations, features, dtype, as_z)
    if model.n_groups > 2 or (model.n_groups == 2 and model.contrast.ndim == 2):
        return welch_james(values[None], model, permutations, features, dtype)
    return shared(values, model, permutations, features, dtype, as_z)


@dataclass(frozen=True, eq=False)
class _Part:
    """What one block of features gives."""

    fits: list[Fit]
    counts: NDArray[np.int64]
    maxima: Floats


def _blocks(job: Job, block_bytes: int, workers: int) -> list[range]:
    """First features of the tiles of each block: whole tiles whose residuals stay below the bound.

    Blocks are of equal size, and as many for each worker: otherwise some wait while others work.
    """
    most = max(1, block_bytes // (TILE_FEATURES * job.bytes_per_feature))
    rounds = -(-len(job.starts) // (most * workers))
    n_blocks = min(rounds * workers, len(job.starts))
    edges = [len(job.starts) * i // n_blocks for i in range(n_blocks + 1)] if n_blocks else []
    return [job.starts[i:j] for i, j in pairwise(edges)] or [range(0)]


def _block(job: Job, starts: range, progress: _Progress) -> _Part:
    """Test a block of features: fit and residuals tile by tile, then all rearrangements."""
    tiles = [job.tile(start) for start in starts]
    together = job.together(tiles)
    maxima = np.zeros(job.permutations.n_set)
    batches = job.batches()
    for first in range(0, len(batches), job.at_once):
        some = batches[first : first + job.at_once]
        job.sweep(together, [job.turned(batch) for batch in some], [maxima[batch] for batch in some])
        progress.step(len(some))
    counts = [tile.counts for tile in tiles]
    return _Part([t.fit for t in tiles], np.concatenate(counts) if counts else np.empty(0, np.int64), maxima)


def _assemble(parts: Sequence[_Part], jobs: Sequence[Job], n_features: int) -> TestResult:
    order = np.concatenate([job.features for job in jobs])
    fits = [one for part in parts for one in part.fits]

    def placed(pieces: Iterator[NDArray[Any]], like: type) -> NDArray[Any]:
        whole: NDArray[Any] = np.zeros(n_features, dtype=like)
        whole[order] = np.concatenate([np.empty(0, dtype=like), *pieces])
        return whole

    effect, se, stat, df, valid = (
        placed((getattr(one, name) for one in fits), bool if name == "valid" else np.float64)
        for name in ("effect", "se", "stat", "df", "valid")
    )
    counts = placed((part.counts for part in parts), np.int64)
    maxima = np.max([part.maxima for part in parts], axis=0)
    scale, rank = jobs[0].scale, (fits[0].rank if fits else None)
    n_set, permutations = jobs[0].permutations.n_set, jobs[0].permutations
    result = TestResult(
        effect,
        se,
        stat,
        df,
        scale,
        np.where(valid, np.maximum(counts, 1) / n_set, np.nan),
        np.square(maxima) if scale == "F" else maxima,
        valid,
        max(job.tolerance for job in jobs),
        permutations.smallest_p,
        permutations.exact,
        permutations.digest,
        rank=rank or 0,
        least_p=1 / permutations.total,
    )
    # The identity is what was observed, in full precision.
    if valid.any():
        result.maxima[0] = np.nanmax(np.where(valid, result.on_scale(scale), np.nan))
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
        ``t``, ``F``, ``z``, or ``score`` when scores were corrected.
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
    return "z" if differs or any(r.scale == "z" for r in results) else results[0].scale


def _maxima_on(scale: Scale, result: TestResult) -> Floats:
    """Maxima on the scale of the family; within a pooled test all degrees of freedom are equal."""
    if scale == result.scale or not result.valid.any():
        return result.maxima
    df = np.full_like(result.maxima, result.df[result.valid][0])
    return magnitude(result.maxima, df, result.rank or None, "z")


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
    own = z_to_t(critical, result.df) if scale == "z" else np.full_like(result.df, critical)
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
