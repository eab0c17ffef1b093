"""Designs and results of group models, in words, tables and figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conn.config.model import GroupByTime, Regression, TwoSample
from conn.design import exchange_words, variance_words
from conn.exclusions import PARTIAL
from conn.report import brain, page, plots, style
from conn.report.contract import ContrastResult, Outputs, TestedFamily
from conn.report.designs import DESIGNS, time_points
from conn.report.people import Names
from conn.report.quality_section import CHUNK
from conn.report.regions import edge, groups_of, ordered
from conn.report.style import Picture
from conn.report.values import Connectivity, edge_panel, predictor_words
from conn.report.words import (
    capital,
    count,
    decimals_for,
    fixed,
    humanised,
    interval,
    listed,
    p_cell,
    p_words,
    significant,
    spelled,
)

TOP = 12
"""Edges in the forest plot and in the open part of the table, unless more are significant."""
MOST_PANELS = 8
MOST_PEAKS = 4


@dataclass(frozen=True)
class Context:
    """What all parts of the results need."""

    folder: Path
    outputs: Outputs
    names: Names
    data: Connectivity

    @cached_property
    def partial(self) -> Connectivity:
        """Partial correlations of runs."""
        return Connectivity(self.outputs, "partial")

    def edges_of(self, contrast: ContrastResult) -> Connectivity:
        """What the edges of a contrast were taken from."""
        return self.partial if self.is_partial(contrast) else self.data

    def is_partial(self, contrast: ContrastResult) -> bool:
        """Whether the edges of a contrast are partial correlations."""
        return self.outputs.config.models[contrast.model].edge_measure == "partial"

    @property
    def alpha(self) -> float:
        """Family-wise error rate."""
        return self.outputs.config.inference.alpha

    @property
    def level(self) -> str:
        """Level of intervals in percent."""
        return f"{100 * (1 - self.alpha):g}\N{NO-BREAK SPACE}%"

    @cached_property
    def planted(self) -> list[dict[str, Any]]:
        """Planted edges of a simulation."""
        truth = self.outputs.truth or {}
        return [dict(e) for e in truth.get("edges", ()) if isinstance(e, Mapping)]


def anchor_of(contrast: ContrastResult, prefix: str) -> str:
    """Identifier of a contrast's block in the page."""
    return f"{prefix}-{contrast.model}-{contrast.name}"


def tested(contrast: ContrastResult) -> pd.DataFrame:
    """Edges that have a family-wise p, smallest first; ties by |statistic|."""
    table = contrast.edges.loc[np.isfinite(contrast.edges["p_fwe"])]
    order = np.lexsort((-table["stat"].abs().to_numpy(), table["p"].to_numpy(), table["p_fwe"].to_numpy()))
    ranked: pd.DataFrame = table.iloc[order].reset_index(drop=True)
    return ranked


def found(contrast: ContrastResult, alpha: float) -> pd.DataFrame:
    """Edges whose family-wise p is at most alpha."""
    table = tested(contrast)
    return table.loc[table["p_fwe"] <= alpha]


# ------------------------------------------------------------------------------------------------ words


def unit(context: Context, contrast: ContrastResult) -> str:
    """Unit of the estimate of an edge."""
    words = _unit(context, contrast)
    return words.replace("Fisher z", _Z_OF_PARTIAL) if context.is_partial(contrast) else words


_Z_OF_PARTIAL = "Fisher z of partial r"


def _unit(context: Context, contrast: ContrastResult) -> str:
    model = context.outputs.config.models[contrast.model]
    predictor = humanised(model.predictor) if isinstance(model, Regression) else ""
    if contrast.name == "group":
        return "Difference in mean Fisher z"
    if contrast.name == "interaction":
        return "Difference of changes in Fisher z"
    return capital(plots.unit_of(contrast.design, predictor))


def estimate_words(context: Context, row: Mapping[str, Any], smallest: float) -> str:
    """One edge as a sentence would give it: estimate, interval, p_fwe."""
    values = [float(row[k]) for k in ("estimate", "ci_low", "ci_high")]
    decimals = max(decimals_for(values, 3), 2)
    return (
        f"{edge(str(row['roi_a']), str(row['roi_b']))} (estimate {fixed(values[0], decimals)}, "
        f"{context.level} CI "
        f"{interval(values[1], values[2], decimals)}; {p_words(float(row['p_fwe']), 'p_fwe', smallest)})"
    )


def sentences(context: Context, contrast: ContrastResult) -> tuple[str, ...]:
    """What a contrast found, in sentences."""
    words = [_attainable(context, contrast), _edge_words(context, contrast), _map_words(context, contrast)]
    return tuple(w for w in words if w)


def _attainable(context: Context, contrast: ContrastResult) -> str:
    smallest = contrast.smallest_p
    if smallest < context.alpha / 10:
        return ""
    text = f"With n = {contrast.n} the smallest attainable p is {significant(smallest, 2)}"
    if smallest > context.alpha:
        return f"{text}: this test cannot reach {context.alpha:g}, whatever the data."
    return f"{text}."


def _edge_words(context: Context, contrast: ContrastResult) -> str:
    table, alpha = tested(contrast), context.alpha
    if table.empty:
        return _no_edges(context, contrast)
    edges = count(len(table), "edge") + (" (partial correlations)" if context.is_partial(contrast) else "")
    hits = table[table["p_fwe"] <= alpha]
    rows = table.head(3).to_dict("records")
    if hits.empty:
        return (
            f"None of {edges} reaches p_fwe ≤ {alpha:g}. "
            f"The nearest is {estimate_words(context, _keys(rows[0]), contrast.smallest_p)}. "
            "This is not evidence of no effect: the intervals say what remains possible."
        )
    strongest = [estimate_words(context, _keys(r), contrast.smallest_p) for r in rows[: min(3, len(hits))]]
    lead = f"{capital(spelled(len(hits)))} of {edges} {_verb(len(hits))} p_fwe ≤ {alpha:g}"
    shown = (
        f"{lead}{_holm(hits, contrast, alpha)}: "
        if len(hits) <= 3
        else f"{lead}{_holm(hits, contrast, alpha)}; first "
    )
    return shown + listed(strongest) + "."


def _no_edges(context: Context, contrast: ContrastResult) -> str:
    """Why no partial correlation could be tested: whoever lacks one region lacks the whole matrix."""
    names = _lacking(context, contrast, PARTIAL) if context.is_partial(contrast) else []
    if contrast.edges.empty or not names:
        return ""
    return (
        f"No edge could be tested: partial correlations are missing in {listed(names, 4)}, and an edge needs "
        "a value in everybody of the contrast."
    )


def _verb(n: int) -> str:
    return "reaches" if n == 1 else "reach"


def _keys(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(k): v for k, v in row.items()}


def _holm(hits: pd.DataFrame, contrast: ContrastResult, alpha: float) -> str:
    """How many remain when the families of the model are corrected too."""
    if contrast.n_families < 2 or not np.isfinite(hits["p_holm"]).any():
        return ""
    left = int((hits["p_holm"] <= alpha).sum())
    kept = "all of them" if left == len(hits) > 1 else "it does" if left == len(hits) else spelled(left)
    if len(hits) == 1:
        kept = "it remains so" if left else "it does not remain so"
        return f" ({kept} after Holm's correction over the model's {spelled(contrast.n_families)} families)"
    return f" ({kept} also after Holm's correction over the model's {spelled(contrast.n_families)} families)"


def _map_words(context: Context, contrast: ContrastResult) -> str:
    if not contrast.maps:
        return ""
    clusters = contrast.clusters[contrast.clusters["p_fwe"] <= context.alpha]
    n_maps, missing = len(contrast.mapped), _unmapped(context, contrast)
    if not n_maps:
        return missing.strip()
    if clusters.empty:
        return f"No voxel in the maps of {count(n_maps, 'seed')} reaches p_fwe ≤ {context.alpha:g}.{missing}"
    seeds = list(dict.fromkeys(clusters["seed"]))
    best = _keys(clusters.loc[clusters["p_fwe"].idxmin()].to_dict())
    where = f"({listed([fixed(float(best[f'peak_{a}']), 0) for a in 'xyz']).replace(' and ', ', ')}) mm"
    return (
        f"Seed maps: {count(len(clusters), 'cluster')} at p_fwe ≤ {context.alpha:g} in the maps of "
        f"{len(seeds)} of "
        f"{count(n_maps, 'seed')} ({listed(ordered(seeds), 4)}); the smallest p at {where} with seed "
        f"{best['seed']}, "
        f"{p_words(float(best['p_fwe']), 'p_fwe', contrast.smallest_p)}.{missing}"
    )


def _unmapped(context: Context, contrast: ContrastResult) -> str:
    """Seeds whose map is empty, and who lacks them."""
    empty = [seed for seed in ordered(contrast.maps) if seed not in contrast.mapped]
    if not empty:
        return ""
    lacking = {seed: _lacking(context, contrast, seed) for seed in empty}
    seeds = [f"{seed} ({_lack_words(names, ' ', 4)})" for seed, names in lacking.items()]
    why = ": a map needs its seed in everybody of the contrast" if any(lacking.values()) else ""
    return f" There is no map of {listed(seeds)}{why}."


def _lacking(context: Context, contrast: ContrastResult, seed: str) -> list[str]:
    """Who of a contrast has no value of a seed in a run that the contrast uses."""
    used = {run for weights in contrast.rows.run_weights for run in weights}
    rows = context.outputs.exclusions
    rows = rows[(rows["roi"] == seed) & rows["run"].isin(used)]
    people = dict.fromkeys(zip(rows["dataset"], rows["subject"], strict=True))
    return [context.names.person(d, s) for d, s in people]


def _lack_words(names: Sequence[str], after: str, most: int) -> str:
    """Why a map is empty; `after` stands between the reason and the names."""
    return f"missing in{after}{listed(names, most)}" if names else "no valid voxel"


def finding(context: Context, contrast: ContrastResult) -> page.Finding:
    """A contrast for the summary."""
    words = f"{capital(contrast.words)}; n = {contrast.n}."
    found_words = sentences(context, contrast) or ("Nothing could be tested.",)
    return page.Finding(
        anchor_of(contrast, "result"),
        contrast.title,
        words,
        contrast.status,
        contrast.planned,
        found_words,
    )


# ----------------------------------------------------------------------------------------------- design


def design_block(context: Context, contrast: ContrastResult) -> page.DesignBlock:
    """The design of a contrast."""
    return page.DesignBlock(
        anchor_of(contrast, "design"),
        contrast.title,
        capital(contrast.words),
        contrast.status,
        contrast.planned,
        tuple(_facts(context, contrast)),
        _design_picture(context, contrast),
        _dropped(context, contrast),
    )


def _facts(context: Context, contrast: ContrastResult) -> Iterable[tuple[str, str]]:
    yield "Design", DESIGNS[contrast.design]
    yield "Rows", f"{count(contrast.n, 'person', 'people')}, one row each"
    yield "Columns", ", ".join(map(humanised, contrast.rows.columns))
    yield "Exchange", capital(exchange_words(contrast.rows))
    yield "Variance", capital(variance_words(contrast.rows))
    if context.is_partial(contrast) and not contrast.edges.empty:
        yield "Edges", "Partial correlations, each given all other regions of the set"
    if contrast.families:
        sets = dict.fromkeys(_permutations(contrast, family) for family in contrast.families)
        yield "Permutations", capital("; ".join(sets))
        yield "Families", "; ".join(f"{f.name} ({count(f.tests, 'test')})" for f in contrast.families)
    skewness = [f.skewness for f in contrast.families if f.skewness is not None]
    if skewness and contrast.rows.exchange == "flips":
        yield (
            "Skewness",
            (
                f"Median |skewness| of residuals {significant(max(skewness), 2)}; sign flips assume 0, "
                "and strongly skewed differences (above 1) make them liberal"
            ),
        )
    yield "Smallest attainable p", significant(contrast.smallest_p, 2)
    for model in context.outputs.models:
        if model.name == contrast.model and model.contrasts[0].name == contrast.name:
            yield from (("Note", capital(context.names.text(note))) for note in model.notes)


def _permutations(contrast: ContrastResult, family: TestedFamily) -> str:
    """The set of rearrangements in words."""
    noun = "sign flips" if contrast.rows.exchange == "flips" else "exchanges"
    if family.complete:
        return f"all {family.permutations:,} {noun}"
    return f"{family.permutations - 1:,} random {noun} and the observed order"


def _design_picture(context: Context, contrast: ContrastResult) -> Picture:
    columns = [context.names.text(humanised(c)) for c in contrast.rows.columns]
    alt = f"Design matrix of {contrast.n} rows and the columns {listed(columns)}."
    caption = "Design matrix: a row per person, each column scaled on its own; the contrast stands below it."
    with style.look():
        figure = plots.design_matrix(contrast.rows.matrix, columns, contrast.rows.contrast)
        name = f"model-{contrast.model}_contrast-{contrast.name}_design"
        return style.save(context.folder, name, figure, alt, caption)


def _dropped(context: Context, contrast: ContrastResult) -> page.Table | None:
    dropped = contrast.rows.dropped
    if not dropped:
        return None
    rows = [(context.names.person(d, s), context.names.text(reason)) for d, s, reason in dropped]
    caption = f"{count(len(rows), 'person', 'people')} not in this contrast, and why."
    return page.table(caption, ("Person", "Reason"), rows)


# ---------------------------------------------------------------------------------------------- results


def result_block(context: Context, contrast: ContrastResult) -> page.ResultBlock:
    """Everything found by a contrast."""
    pictures = [_matrix_picture(context, contrast), _forest_picture(context, contrast)]
    table, more = edge_tables(context, contrast)
    return page.ResultBlock(
        anchor_of(contrast, "result"),
        contrast.title,
        capital(contrast.words),
        contrast.status,
        contrast.planned,
        sentences(context, contrast) or ("Nothing could be tested.",),
        tuple(p for p in pictures if p),
        table,
        more,
        _people_picture(context, contrast),
        tuple(_map_pictures(context, contrast)),
        clusters_table(context, contrast),
    )


def _stem(contrast: ContrastResult) -> str:
    return f"model-{contrast.model}_contrast-{contrast.name}"


def _test_words(context: Context, contrast: ContrastResult) -> str:
    return f"n = {contrast.n}; p_fwe by the {_correction(contrast, 'edges')}; α = {context.alpha:g}"


def _correction(contrast: ContrastResult, kind: str) -> str:
    """What p_fwe of edges or maps is taken from."""
    family = contrast.family(kind)
    over = f"over {count(family.tests, 'edge')}"
    if "maps" in family.kinds:
        maps = f"of the maps of {count(len(contrast.mapped), 'seed')}"
        joint = f"over {count(family.tests, 'test')}: edges, and voxels {maps}"
        over = joint if "edges" in family.kinds else f"over {count(family.tests, 'voxel')} {maps}"
    largest = "enhanced score" if family.scale == "score" else f"|{family.scale}|"
    return f"permutation distribution of the largest {largest} {over} ({_permutations(contrast, family)})"


def _matrix_picture(context: Context, contrast: ContrastResult) -> Picture | None:
    table = contrast.edges[np.isfinite(contrast.edges["estimate"])]
    labels = ordered([*contrast.edges["roi_a"], *contrast.edges["roi_b"]])
    if len(labels) < 4 or len(table) < 6:
        return None
    place = {label: i for i, label in enumerate(labels)}
    a, b = ([place[label] for label in table[end]] for end in ("roi_a", "roi_b"))
    values, marked = np.full((len(labels), len(labels)), np.nan), np.zeros((len(labels), len(labels)), bool)
    values[a, b] = values[b, a] = table["estimate"]
    marked[a, b] = marked[b, a] = table["p_fwe"] <= context.alpha
    hits = int(marked.sum()) // 2
    caption = (
        f"Estimates of all edges; rings: p_fwe ≤ {context.alpha:g} ({hits}); grey: not tested. "
        f"{_test_words(context, contrast)}."
    )
    alt = (
        f"Matrix of estimates between {len(labels)} regions, {hits} of {len(table)} edges marked as "
        f"significant."
    )
    with style.look():
        shown = pd.DataFrame(values, index=pd.Index(labels), columns=pd.Index(labels))
        figure = plots.matrix(shown, unit(context, contrast), marked, groups_of(labels))
        return style.save(
            context.folder, f"{_stem(contrast)}_matrix", figure, alt, caption, vector=False, dpi=200
        )


def shown_edges(context: Context, contrast: ContrastResult, least: int, most: int) -> pd.DataFrame:
    """The significant edges, at least so many and at most so many."""
    table = tested(contrast)
    n = min(max(int((table["p_fwe"] <= context.alpha).sum()), least), most)
    return table.head(n)


def _forest_picture(context: Context, contrast: ContrastResult) -> Picture | None:
    rows = shown_edges(context, contrast, TOP, 30)
    if rows.empty:
        return None
    rows = rows.assign(name=[edge(a, b) for a, b in zip(rows["roi_a"], rows["roi_b"], strict=True)])
    truths = [truth_of(context, contrast, a, b) for a, b in zip(rows["roi_a"], rows["roi_b"], strict=True)]
    n_hits = int((rows["p_fwe"] <= context.alpha).sum())
    caption = (
        f"The {count(len(rows), 'edge')} with the smallest p_fwe. Thick: {context.level} interval of one "
        f"edge; thin: "
        f"{context.level} simultaneous interval, which excludes zero exactly when p_fwe ≤ {context.alpha:g}. "
        "Edges chosen for their small p have estimates that are too large on average."
    )
    best = estimate_words(context, _keys(rows.iloc[0].to_dict()), contrast.smallest_p)
    alt = f"Forest plot of {len(rows)} edges, {n_hits} of them significant. First: {best}."
    with style.look():
        figure = plots.forest(rows, unit(context, contrast), context.alpha, truths)
        return style.save(context.folder, f"{_stem(contrast)}_forest", figure, alt, caption)


def planted_in(context: Context, contrast: ContrastResult) -> list[dict[str, Any]]:
    """Planted edges that a contrast estimates; they were planted as correlations, not as partial ones."""
    if context.is_partial(contrast):
        return []
    meant = (contrast.name, {None, contrast.model})
    return [e for e in context.planted if e.get("contrast") == meant[0] and e.get("model") in meant[1]]


def truth_of(context: Context, contrast: ContrastResult, a: str, b: str) -> float:
    """The planted value of an edge, NaN where none is listed."""
    for entry in planted_in(context, contrast):
        if {entry.get("roi_a"), entry.get("roi_b")} == {a, b}:
            return float(entry.get("delta_z", np.nan))
    return float("nan")


EDGE_HEAD = (
    "Edge",
    "n",
    "Estimate",
    "CI",
    "Simultaneous CI",
    "g",
    "Statistic (df)",
    "p",
    "p_fwe",
    "p_fdr",
    "p_holm",
)


def edge_tables(context: Context, contrast: ContrastResult) -> tuple[page.Table | None, page.Table | None]:
    """The first edges, and the rest of the first 100 to be opened."""
    rows = tested(contrast)
    if rows.empty:
        return None, None
    n_open = len(shown_edges(context, contrast, TOP, 40))
    decimals = max(decimals_for(rows["estimate"].tolist(), 3), 2)
    cells = [_edge_row(context, _keys(r), decimals) for r in rows.head(100).to_dict("records")]
    path = f"group/{contrast.model}/model-{contrast.model}_edges.tsv"
    types = listed(sorted({t for t in contrast.edges["g_type"] if t != "n/a"}))
    note = (
        f"Bold: p_fwe ≤ {context.alpha:g}. CI: {context.level} interval of one edge. p: uncorrected, "
        f"two-sided. "
        "p_fwe: corrected over all edges of the family; p_holm: also over the families of the model. "
        f"g: standardised effect{f' ({types})' if types else ''}. All {count(len(rows), 'edge')}: {path}."
        f"{_coarse(contrast, context.alpha)}"
    )
    caption = f"Edges by p_fwe. {capital(unit(context, contrast))}."
    numbers = EDGE_HEAD[1:]
    first = page.table(caption, EDGE_HEAD, cells[:n_open], numbers, note)
    rest = cells[n_open:]
    if not rest:
        return first, None
    return first, page.table(f"Edges {n_open + 1} to {n_open + len(rest)}.", EDGE_HEAD, rest, numbers)


def _coarse(contrast: ContrastResult, alpha: float) -> str:
    """What the number of permutations does to p_fdr, when it matters."""
    family, smallest = contrast.family("edges"), contrast.smallest_p
    if smallest * family.tests <= alpha:
        return ""
    alone = significant(min(smallest * family.tests, 1.0), 2)
    at_floor = family.complete or smallest * family.permutations > 1.000001
    more = "" if at_floor else " More permutations lower both."
    return (
        f" p counts permutations and is at least {significant(smallest, 2)}. When a single edge has so "
        f"small a p, its p_fdr is at least {alone}; it is lower only when several tests share that p.{more}"
    )


def _edge_row(context: Context, row: Mapping[str, Any], decimals: int) -> page.Row:
    value = {k: float(v) for k, v in row.items() if isinstance(v, float | int)}
    df = fixed(value["df"], 0 if float(value["df"]).is_integer() else 1)
    cells = (
        edge(str(row["roi_a"]), str(row["roi_b"])),
        fixed(value["n"], 0),
        fixed(value["estimate"], decimals),
        interval(value["ci_low"], value["ci_high"], decimals),
        interval(value["ci_sim_low"], value["ci_sim_high"], decimals),
        fixed(value["g"], 2),
        f"{fixed(value['stat'], 2)} ({df})",
        *(p_cell(value[k]) for k in ("p", "p_fwe", "p_fdr", "p_holm")),
    )
    return page.Row(cells, strong=value["p_fwe"] <= context.alpha)


def clusters_table(context: Context, contrast: ContrastResult) -> page.Table | None:
    """Clusters of all seed maps."""
    table = contrast.clusters
    if table.empty:
        return None
    table = table.sort_values(["p_fwe", "volume_mm3"], ascending=[True, False], kind="stable").head(60)
    rows = []
    for r in table.to_dict("records"):
        place = ", ".join(fixed(r[f"peak_{a}"], 0) for a in "xyz")
        strong = bool(r["p_fwe"] <= context.alpha)
        cells = (
            r["seed"],
            str(r["cluster"]),
            r["label"],
            place,
            fixed(r["voxels"], 0),
            f"{r['volume_mm3']:,.0f}",
            fixed(r["peak_stat"], 2),
            p_cell(r["p_fwe"]),
            p_cell(r["p_holm"]),
        )
        rows.append(page.Row(cells, strong))
    head = (
        "Seed",
        "Cluster",
        "Nearest region",
        "Peak x, y, z (mm)",
        "Voxels",
        "Volume (mm³)",
        "Peak statistic",
        "p_fwe",
        "p_holm",
    )
    note = (
        "A cluster is a set of connected voxels with p_fwe at most α; p_fwe is that of its peak. It says "
        "that the map "
        "differs there, not that every voxel of the cluster does."
    )
    return page.table("Clusters of the seed maps.", head, rows, head[3:], note)


# ------------------------------------------------------------------------------------------- people, maps


def _people_picture(context: Context, contrast: ContrastResult) -> Picture | None:
    rows, data = shown_edges(context, contrast, 4, MOST_PANELS), context.edges_of(contrast)
    if rows.empty or not data.labels:
        return None
    panels = []
    for r in rows.to_dict("records"):
        note = p_words(float(r["p_fwe"]), "p_fwe", contrast.smallest_p).split(",")[0]
        panel = edge_panel(data, contrast, r["roi_a"], r["roi_b"], edge(r["roi_a"], r["roi_b"]), note)
        if panel.groups and np.isfinite(panel.groups[0].z).any():
            panels.append(panel)
    if not panels:
        return None
    caption, alt = _people_words(context, contrast, panels)
    model = context.outputs.config.models[contrast.model]
    points = time_points(model)
    z = _Z_OF_PARTIAL if context.is_partial(contrast) else "Fisher z"
    y = f"change in {z}" if isinstance(model, Regression) and len(points) == 2 else z
    x = predictor_words(context.outputs, contrast, model) if isinstance(model, Regression) else ""
    with style.look():
        figure = plots.edges(panels, points, y, x)
        return style.save(context.folder, f"{_stem(contrast)}_people", figure, alt, caption)


def _people_words(
    context: Context, contrast: ContrastResult, panels: list[plots.EdgePanel]
) -> tuple[str, str]:
    model = context.outputs.config.models[contrast.model]
    edges_named = listed([p.title for p in panels])
    flag = (
        "Selected by this test: the edges were chosen because their p is small, so the effect looks "
        "larger than it is."
    )
    if isinstance(model, Regression):
        what = "Each point is a person; line: least squares without the covariates."
    elif isinstance(model, TwoSample):
        what = "Each point is a person; beside them mean and 95 % interval of each group."
    else:
        groups = f" of each {humanised(model.group)}" if isinstance(model, GroupByTime) else ""
        what = (
            f"Each line is a person; thick: mean and 95 % interval{groups} at each time point, without "
            f"covariates."
        )
    n = sum(len(g.z) for g in panels[0].groups)
    return f"{flag} {what} n = {n}.", f"Values of each person for {edges_named}."


def _map_pictures(context: Context, contrast: ContrastResult) -> list[Picture]:
    if not contrast.maps:
        return []
    seeds = ordered(contrast.maps)
    rows = {seed: _map_row(context, contrast, seed) for seed in seeds}
    top = [
        np.nanquantile(np.abs(r.volume.data), 0.999)
        for r in rows.values()
        if np.isfinite(r.volume.data).any()
    ]
    limit = float(np.clip(max(top, default=4.0), 3.0, 10.0))
    label = contrast.family("maps").statistic
    pictures = [
        _mosaic(
            context,
            contrast,
            [rows[s] for s in seeds[start : start + CHUNK]],
            start // CHUNK + 1,
            limit,
            label,
        )
        for start in range(0, len(seeds), CHUNK)
    ]
    detail = _peak_picture(context, contrast, rows, limit, label)
    return pictures + ([detail] if detail else [])


def _map_row(context: Context, contrast: ContrastResult, seed: str) -> brain.Row:
    files = contrast.maps[seed]
    volume = brain.read(files["t"])
    if seed not in contrast.mapped:
        note = _lack_words(_lacking(context, contrast, seed), "\n", 2)
        return brain.Row(seed, volume, note=note.replace(" and ", "\nand "))
    p = brain.read(files["pfwe"])
    mask = brain.Volume((p.data <= context.alpha).astype(np.float32), p.affine)
    return brain.Row(seed, volume, mask, f"smallest p_fwe\n{p_cell(float(np.nanmin(p.data)))}")


def _mosaic(
    context: Context, contrast: ContrastResult, rows: list[brain.Row], number: int, limit: float, label: str
) -> Picture:
    caption = (
        f"Maps of {label}, n = {contrast.n}, on the template {brain.TEMPLATE} (a drawing ground only). "
        f"Black outline: "
        f"p_fwe ≤ {context.alpha:g} by the {_correction(contrast, 'maps')}. "
        f"Opacity grows with |{label}| up to 3."
    )
    alt = f"Axial slices of the {label} maps of {listed([r.name for r in rows])}."
    with style.look():
        figure = brain.mosaic(rows, label, limit=limit, full=min(3.0, limit))
        return style.save(
            context.folder, f"{_stem(contrast)}_maps_{number}", figure, alt, caption, vector=False
        )


def _peak_picture(
    context: Context, contrast: ContrastResult, rows: Mapping[str, brain.Row], limit: float, label: str
) -> Picture | None:
    table = contrast.clusters
    table = table[(table["p_fwe"] <= context.alpha) & table["seed"].isin(list(rows))]
    table = table.loc[np.isfinite(table[["peak_x", "peak_y", "peak_z"]].to_numpy(float)).all(axis=1)]
    if table.empty:
        return None
    table = table.sort_values(["p_fwe", "volume_mm3"], ascending=[True, False], kind="stable").head(
        MOST_PEAKS
    )
    places = [
        brain.Peak(
            rows[r["seed"]],
            f"Seed {r['seed']}: {label} = {fixed(r['peak_stat'], 2)}, {p_words(r['p_fwe'], 'p_fwe')}",
            (r["peak_x"], r["peak_y"], r["peak_z"]),
        )
        for r in table.to_dict("records")
    ]
    caption = (
        f"The peaks with the smallest p_fwe in three planes (MNI mm); cross hairs at the peak, L: "
        f"left. n = {contrast.n}."
    )
    alt = f"Sagittal, coronal and axial slices through {count(len(places), 'peak')}. " + "; ".join(
        p.title for p in places
    )
    with style.look():
        figure = brain.peaks(places, label, limit, min(3.0, limit))
        return style.save(context.folder, f"{_stem(contrast)}_peaks", figure, alt, caption, vector=False)


# ------------------------------------------------------------------------------------------------- truth


def truth_table(context: Context) -> page.Table | None:
    """Planted effects beside their estimates."""
    rows = [row for entry in context.planted for row in _truth_rows(context, entry)]
    if not rows:
        return None
    head = ("Model: contrast", "Edge", "Planted", "Estimate", "CI", "CI holds it", "p_fwe", "Found")
    others = "; ".join(t for c in context.outputs.contrasts() if (t := _false_edges(context, c)))
    note = "Planted: the population value in Fisher z. Found: p_fwe ≤ " + f"{context.alpha:g}. {others}"
    return page.table(
        "Truth beside estimate.", head, rows, ("Planted", "Estimate", "CI", "p_fwe"), note.strip()
    )


def _truth_rows(context: Context, entry: Mapping[str, Any]) -> Iterable[page.Row]:
    pair = {str(entry.get("roi_a")), str(entry.get("roi_b"))}
    name = edge(str(entry.get("roi_a")), str(entry.get("roi_b")))
    truth = float(entry.get("delta_z", np.nan))
    for contrast in context.outputs.contrasts():
        if entry not in planted_in(context, contrast):
            continue
        for r in contrast.edges.to_dict("records"):
            if {r["roi_a"], r["roi_b"]} != pair:
                continue
            holds = r["ci_low"] <= truth <= r["ci_high"]
            hit = r["p_fwe"] <= context.alpha
            yield page.Row(
                (
                    contrast.title,
                    name,
                    fixed(truth, 3),
                    fixed(r["estimate"], 3),
                    interval(r["ci_low"], r["ci_high"], 3),
                    "yes" if holds else "no",
                    p_cell(r["p_fwe"]),
                    "yes" if hit else "no",
                ),
                strong=bool(hit),
            )


def _false_edges(context: Context, contrast: ContrastResult) -> str:
    """How many edges without a planted effect reached p_fwe ≤ alpha."""
    if not planted_in(context, contrast):
        return ""
    table = tested(contrast)
    pairs = zip(table["roi_a"], table["roi_b"], strict=True)
    truths = np.array([truth_of(context, contrast, a, b) for a, b in pairs], float)
    null = table.loc[np.nan_to_num(truths) == 0]
    hits = int((null["p_fwe"] <= context.alpha).sum())
    return (
        f"{contrast.title}: {hits} of {count(len(null), 'edge')} without a planted effect "
        f"{_verb(hits)} p_fwe ≤ {context.alpha:g}"
    )
