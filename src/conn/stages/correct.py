"""Stage correct: tests of one model become family-wise p, intervals, tables and maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import effects, images, inference, multiplicity, paths, receipts
from conn.clusters import COLUMNS, find_clusters
from conn.config.model import Enhancement, Inference
from conn.design import Design, Family, load_design
from conn.files import write_json
from conn.inference import Corrected, FamilyResult
from conn.lock import NOT_LOCKED, label
from conn.rois import registry
from conn.stages.test import within
from conn.stages.tested import Tested, load
from conn.tables import write_tsv
from conn.tail import tail_p

EDGES, NETWORKS, MAPS, FACTORS = "edges", "networks", "maps", "factors"
IMAGES = (MAPS, FACTORS)
NEAR_MM = 15.0
"""A peak farther than this from every registered region gets no name."""


@dataclass(frozen=True, eq=False)
class _Part:
    """One test of a family, corrected."""

    what: str
    family: str
    status: str
    tested: Tested
    corrected: Corrected
    p_fdr: NDArray[np.float64]
    p_holm: NDArray[np.float64]
    p_tail: NDArray[np.float64]


def correct(out: Path, model: str, tests: Sequence[str], settings: Inference, lock: str = NOT_LOCKED) -> None:
    """Correct all tests of a model and write its tables, maps and receipt.

    Parameters
    ----------
    out
        Output folder.
    model
        Name of the model.
    tests
        ``seed-LABEL`` for maps, ``factor-NAME`` for comparisons of them, ``edges``, ``networks``.
    settings
        Error rate.
    lock
        What the lock of the plan says of the model, see `conn.lock.state_of`.
    """
    design = load_design(out / paths.model_folder(model), model)
    loaded = {what: load(out / paths.test_result(model, what)) for what in tests}
    families = _families(design, loaded, settings.alpha)
    status = {c.name: label(lock, confirmatory=c.confirmatory) for c in design.contrasts}
    sensitivity = {c.name for c in design.contrasts if c.sensitivity}
    parts = list(_parts(loaded, families, status, sensitivity))
    _forget(out, model)
    files = [_write_edges(out, model, parts, _unions(loaded), settings)] if EDGES in tests else []
    if NETWORKS in tests:
        files.append(_write_networks(out, model, parts, loaded[NETWORKS][1]["members"], settings))
    if any(_kind(what) in IMAGES for what in tests):
        files.append(_write_clusters(out, model, parts, loaded, settings.alpha))
    for part in parts:
        if _kind(part.what) in IMAGES:
            files += _write_maps(out, model, part, loaded[part.what][1], settings.enhancement)
    summary = [_summary(family, made, loaded, status[family.contrast]) for family, made in families]
    write_json(out / paths.families(model), summary)
    files.append(paths.families(model))
    write_json(out / paths.correct_receipt(model), {"model": model, "files": receipts.digests(out, files)})


def _forget(out: Path, model: str) -> None:
    """Remove what earlier settings left, so that no old result stands beside new ones."""
    others = (paths.confounding, paths.adjustment, paths.coupling)
    kept = {paths.design_json(model).name, paths.design_tsv(model).name, *(of(model).name for of in others)}
    for path in (out / paths.model_folder(model)).iterdir():
        if path.name not in kept:
            path.unlink()


def _kind(what: str) -> str:
    """``edges``, ``networks``, ``factors`` or ``maps``."""
    if what in (EDGES, NETWORKS):
        return what
    return FACTORS if what.startswith("factor-") else MAPS


def _members(family: Family, tests: Sequence[str]) -> list[str]:
    return [what for what in tests if _kind(what) in family.kinds]


def _families(
    design: Design, loaded: Mapping[str, tuple[dict[str, Tested], dict[str, NDArray[Any]]]], alpha: float
) -> list[tuple[Family, FamilyResult]]:
    made = []
    for family in design.families:
        members = _members(family, list(loaded))
        if members:
            results = [loaded[what][0][family.contrast].result for what in members]
            # Scores of edges stand beside their p_fwe, those of maps in its place.
            enhanced = EDGES not in family.kinds and any(result.score.size for result in results)
            correction = inference.correct_scores if enhanced else inference.correct
            made.append((family, correction(results, alpha)))
    return made


def _parts(
    loaded: Mapping[str, tuple[dict[str, Tested], dict[str, NDArray[Any]]]],
    families: Sequence[tuple[Family, FamilyResult]],
    status: Mapping[str, str],
    sensitivity: Collection[str],
) -> Iterator[_Part]:
    """Every test of every family, with Holm across the families of the model.

    A repetition with motion as a covariate asks no further question, so it is not counted and has no p.
    """
    found = [np.concatenate([c.p_fwe for c in made.results]) for _, made in families]
    counted = [
        np.full_like(p, np.nan) if family.contrast in sensitivity else p
        for p, (family, _) in zip(found, families, strict=True)
    ]
    for (family, made), adjusted in zip(families, multiplicity.holm_families(counted), strict=True):
        members = _members(family, list(loaded))
        tested = [loaded[what][0][family.contrast] for what in members]
        ends = np.cumsum([one.n.size for one in tested])[:-1]
        fdr = np.split(multiplicity.fdr(np.concatenate([one.result.p for one in tested])), ends)
        columns = zip(members, tested, made.results, fdr, np.split(adjusted, ends), strict=True)
        for what, one, corrected, p_fdr, p_holm in columns:
            p_tail = _tail(made, one)
            yield _Part(what, family.name, status[family.contrast], one, corrected, p_fdr, p_holm, p_tail)


def _tail(made: FamilyResult, one: Tested) -> NDArray[np.float64]:
    """Family-wise p by the tail of the maxima, where a random set was used; a complete one is exact.

    It is not below what all rearrangements that exist could give.
    """
    result = one.result
    values = np.abs(result.score) if made.scale == "score" else result.on_scale(made.scale)
    if one.complete:
        return np.full(values.size, np.nan)
    return np.maximum(tail_p(made.maxima, np.where(result.valid, values, np.nan)), result.least_p)


def _summary(
    family: Family,
    made: FamilyResult,
    loaded: Mapping[str, tuple[dict[str, Tested], dict[str, NDArray[Any]]]],
    status: str,
) -> dict[str, Any]:
    reachable = np.isfinite(made.critical)
    tested = [loaded[what][0][family.contrast] for what in _members(family, list(loaded))]
    skewness = float(np.mean([one.skewness for one in tested]))
    return {
        "name": family.name,
        "contrast": family.contrast,
        "status": status,
        "tests": made.n_features,
        "permutations": made.n_permutations,
        "complete": all(one.complete for one in tested),
        "exact": made.exact,
        "smallest_p": made.smallest_p,
        "critical": float(made.critical) if reachable else None,
        "scale": made.scale,
        "statistic": inference.common_scale([one.result for one in tested]),
        "alpha": made.alpha,
        "skewness": skewness if np.isfinite(skewness) else None,
    }


def _contrast(part: _Part) -> str:
    return part.family.split(".")[0]


@dataclass(frozen=True, eq=False)
class _Unions:
    """The edges of all networks: their tests by name, and `members`, rows of network, regions and sign."""

    tested: Mapping[str, Tested]
    members: NDArray[np.str_]

    def inside(self, network: str) -> set[frozenset[str]]:
        """Edges of a network."""
        rows = self.members[self.members[:, 0] == network]
        return {frozenset(pair) for pair in rows[:, 1:3].tolist()}


def _unions(loaded: Mapping[str, tuple[dict[str, Tested], dict[str, NDArray[Any]]]]) -> _Unions | None:
    if NETWORKS not in loaded:
        return None
    tested, extra = loaded[NETWORKS]
    return _Unions(tested, extra["members"])


def _write_edges(
    out: Path, model: str, parts: Sequence[_Part], unions: _Unions | None, settings: Inference
) -> Path:
    tables = [_edge_table(part, parts, unions, settings) for part in parts if part.what == EDGES]
    path = paths.edges(model)
    write_tsv(out / path, pd.concat(tables, ignore_index=True))
    return path


def _edge_table(
    part: _Part, parts: Sequence[_Part], unions: _Unions | None, settings: Inference
) -> pd.DataFrame:
    features = part.tested.features
    names = {"roi_a": features[:, 0], "roi_b": features[:, 1]}
    score, p_score = _scores(part, settings.alpha)
    closed = _closed(part, parts, unions, settings.alpha)
    more = {"p_closed": closed, "score": score, "p_score": p_score}
    return pd.DataFrame(names | _columns(part, settings) | more)


def _write_networks(
    out: Path, model: str, parts: Sequence[_Part], members: NDArray[np.str_], settings: Inference
) -> Path:
    tables, turned = [], Counter(members[members[:, 3] == "-1", 0].tolist())
    for part in parts:
        if part.what == NETWORKS:
            features = part.tested.features
            names = {"network": features[:, 0], "n_edges": features[:, 1]}
            more = {"n_negative": [turned[name] for name in features[:, 0].tolist()]}
            tables.append(pd.DataFrame(names | _columns(part, settings) | more))
    path = paths.networks(model)
    write_tsv(out / path, pd.concat(tables, ignore_index=True))
    return path


def _columns(part: _Part, settings: Inference) -> dict[str, Any]:
    """What tables of edges and of networks have in common."""
    result, size, corrected = part.tested.result, part.tested.size, part.corrected
    return {
        "contrast": _contrast(part),
        "family": part.family,
        "n": part.tested.n,
        "estimate": result.effect,
        "se": result.se,
        "df": np.where(result.valid, result.df, np.nan),
        "stat": result.stat,
        "p": result.p,
        "p_fwe": corrected.p_fwe,
        "p_fdr": part.p_fdr,
        "ci_low": corrected.ci_low,
        "ci_high": corrected.ci_high,
        "ci_sim_low": corrected.ci_sim_low,
        "ci_sim_high": corrected.ci_sim_high,
        "g": size.g,
        "g_type": size.g_type,
        "g_ci_low": size.low,
        "g_ci_high": size.high,
        "p_holm": part.p_holm,
        "status": part.status,
        "df_num": np.where(result.valid & (result.rank > 0), float(result.rank), np.nan),
        "p_tail": part.p_tail,
        "g_av": part.tested.average.g,
        "g_av_ci_low": part.tested.average.low,
        "g_av_ci_high": part.tested.average.high,
        "slope_difference": part.tested.slopes.estimate,
        "p_slope_difference": part.tested.slopes.p,
        "p_equivalence": _equivalence(part, settings.equivalence),
    }


def _equivalence(part: _Part, bound: float | None) -> NDArray[np.float64]:
    """P of equivalence of effects in Fisher z; slopes are in units of their predictor, and have none."""
    result = part.tested.result
    if bound is None or part.tested.size.g_type == "partial_r":
        return np.full(result.effect.size, np.nan)
    return effects.equivalence(result.effect, result.se, result.df, bound)


def _scores(part: _Part, alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores by neighbours and their family-wise p; missing when none were asked for."""
    result = part.tested.result
    if not result.score.size:
        gone = np.full(result.valid.size, np.nan)
        return gone, gone
    return result.score, inference.correct_scores([result], alpha).results[0].p_fwe


def _closed(part: _Part, parts: Sequence[_Part], unions: _Unions | None, alpha: float) -> NDArray[np.float64]:
    """P of edges that are read after their network; missing for edges in no tested network.

    The larger of the network's p (the smallest, where an edge is in several) and the edge's own among the
    edges of all tested networks: no single edge is claimed where the mean of its network says nothing, and
    the error over these edges is kept by their own maximum.
    """
    edges = [tuple(pair) for pair in part.tested.features.tolist()]
    gate, closed = np.full(len(edges), np.nan), np.full(len(edges), np.nan)
    if unions is None:
        return closed
    for one in parts:
        if one.what == NETWORKS and _contrast(one) == _contrast(part):
            for network, p in zip(one.tested.features[:, 0].tolist(), one.corrected.p_fwe, strict=True):
                known = unions.inside(network)
                inside = np.array([frozenset(pair) in known for pair in edges])
                gate = np.where(inside, np.fmin(gate, p), gate)
    union = unions.tested[within(_contrast(part))]
    own = inference.correct([union.result], alpha).results[0].p_fwe
    single = {frozenset(pair): p for pair, p in zip(union.features.tolist(), own.tolist(), strict=True)}
    within_union = np.array([single.get(frozenset(pair), np.nan) for pair in edges])
    return np.asarray(np.maximum(gate, within_union))


def _write_clusters(
    out: Path,
    model: str,
    parts: Sequence[_Part],
    loaded: Mapping[str, tuple[dict[str, Tested], dict[str, NDArray[Any]]]],
    alpha: float,
) -> Path:
    tables = []
    for part in parts:
        if _kind(part.what) not in IMAGES:
            continue
        grid = _grid(loaded[part.what][1])
        table = find_clusters(
            _volume(part, grid, part.tested.result.stat),
            _volume(part, grid, part.corrected.p_fwe),
            grid.affine,
            alpha=alpha,
            seed=part.what.split("-", 1)[1],
            contrast=_contrast(part),
            family=part.family,
            label=nearest_region,
            p_holm=_volume(part, grid, part.p_holm),
        )
        tables.append(table.assign(status=part.status))
    filled = [table for table in tables if len(table)]
    path = paths.clusters(model)
    everything = (
        pd.concat(filled, ignore_index=True)
        if filled
        else pd.DataFrame(columns=pd.Index([*COLUMNS, "p_holm", "status"]))
    )
    write_tsv(out / path, everything)
    return path


def nearest_region(x: float, y: float, z: float) -> str:
    """The registered region nearest to a point in mm, with the distance; ``n/a`` beyond 15 mm."""
    known = registry.table()
    centers = known[["x", "y", "z"]].to_numpy(dtype=float)
    distance = np.linalg.norm(centers - np.array([x, y, z]), axis=1)
    best = int(np.argmin(distance))
    if distance[best] > NEAR_MM:
        return "n/a"
    return f"{distance[best]:.0f} mm from {known['label'].iloc[best]}"


def _grid(extra: Mapping[str, NDArray[Any]]) -> images.Grid:
    nx, ny, nz = (int(n) for n in extra["shape"])
    return images.Grid((nx, ny, nz), extra["affine"])


def _volume(part: _Part, grid: images.Grid, values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    flat = np.full(int(np.prod(grid.shape)), np.nan)
    flat[part.tested.features] = values
    return flat.reshape(grid.shape, order="F")


def _write_maps(
    out: Path,
    model: str,
    part: _Part,
    extra: Mapping[str, NDArray[Any]],
    enhancement: Enhancement | None,
) -> list[Path]:
    grid, result = _grid(extra), part.tested.result
    values = {"p": result.p, "pfwe": part.corrected.p_fwe}
    if result.rank:
        values = {"F": result.stat, **values}
    else:
        values = {"effect": result.effect, "t": result.stat, **values, "g": part.tested.size.g}
    if not part.tested.complete:
        values["ptail"] = part.p_tail
    if enhancement is not None:
        values[enhancement.kind] = result.score
    files = []
    for stat in values:
        path = paths.group_map(model, part.what.split("-", 1)[1], _contrast(part), stat)
        images.write_map(paths.inside(out, path), grid, _volume(part, grid, values[stat]))
        files.append(path)
    return files
