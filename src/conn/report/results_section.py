"""Designs and results of group models, in words, tables and figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conn.design import exchange_words, variance_words
from conn.report import brain, comparisons, edges_section, further_section, page, plots, style
from conn.report.context import (
    Context,
    anchor_of,
    correction_words,
    everybody,
    lack_words,
    lacking,
    permutation_words,
    row_of,
    stem,
)
from conn.report.contract import ContrastResult
from conn.report.designs import DESIGNS, caution
from conn.report.inference_words import added_words, statistic_words
from conn.report.quality_section import CHUNK
from conn.report.regions import ordered
from conn.report.style import Picture
from conn.report.words import (
    capital,
    count,
    fixed,
    humanised,
    listed,
    p_cell,
    p_words,
    significant,
)

MOST_PEAKS = 4
LIMITS_OF_T, LIMITS_OF_F = (3.0, 10.0), (6.0, 40.0)
"""Between which the end of the colour scale lies."""
OPAQUE_T, OPAQUE_F = 3.0, 6.0
"""Values from which colours are opaque."""


# ------------------------------------------------------------------------------------------------ words


def sentences(context: Context, contrast: ContrastResult) -> tuple[str, ...]:
    """What a contrast found, in sentences."""
    words = [
        _attainable(context, contrast),
        comparisons.network_words(context, contrast),
        edges_section.edge_words(context, contrast),
        _map_words(context, contrast),
        *_compared_words(context, contrast),
    ]
    return tuple(w for w in words if w)


def _attainable(context: Context, contrast: ContrastResult) -> str:
    smallest = contrast.smallest_p
    if smallest < context.alpha / 10:
        return ""
    text = f"With n = {contrast.n} the smallest attainable p is {significant(smallest, 2)}"
    if smallest > context.alpha:
        return f"{text}: this test cannot reach {context.alpha:g}, whatever the data."
    return f"{text}."


def _map_words(context: Context, contrast: ContrastResult) -> str:
    if not contrast.maps:
        return ""
    clusters = contrast.clusters[contrast.clusters["p_fwe"] <= context.alpha]
    clusters = clusters[clusters["seed"].isin(list(contrast.maps))]
    n_maps, missing = len(contrast.mapped), _unmapped(context, contrast)
    if not n_maps:
        return missing.strip()
    if clusters.empty:
        return f"No voxel in the maps of {count(n_maps, 'seed')} reaches p_fwe ≤ {context.alpha:g}.{missing}"
    seeds = list(dict.fromkeys(clusters["seed"]))
    best = row_of(clusters.loc[clusters["p_fwe"].idxmin()].to_dict())
    where = f"({listed([fixed(float(best[f'peak_{a}']), 0) for a in 'xyz']).replace(' and ', ', ')}) mm"
    return (
        f"Seed maps: {count(len(clusters), 'cluster')} at p_fwe ≤ {context.alpha:g} in the maps of "
        f"{len(seeds)} of "
        f"{count(n_maps, 'seed')} ({listed(ordered(seeds), 4)}); the smallest p at {where} with seed "
        f"{best['seed']}, "
        f"{p_words(float(best['p_fwe']), 'p_fwe', contrast.smallest_p)}.{missing}"
    )


def _compared_words(context: Context, contrast: ContrastResult) -> Iterator[str]:
    """Whether the effect differs between seeds, a sentence for each comparison."""
    for name in ordered(contrast.compared):
        clusters = contrast.clusters[contrast.clusters["seed"] == name]
        found = (
            count(int((clusters["p_fwe"] <= context.alpha).sum()), "cluster")
            if len(clusters)
            else "no cluster"
        )
        yield (
            f"Comparison of the seeds {name} (an F of their differences within people): {found} at "
            f"p_fwe ≤ {context.alpha:g} where the effect differs between them."
        )


def _unmapped(context: Context, contrast: ContrastResult) -> str:
    """Seeds whose map is empty, and who lacks them."""
    empty = [seed for seed in ordered(contrast.maps) if seed not in contrast.mapped]
    if not empty:
        return ""
    people = {seed: lacking(context, contrast, seed) for seed in empty}
    seeds = [f"{seed} ({lack_words(names, ' ', 4)})" for seed, names in people.items()]
    why = f": a map needs its seed in {everybody(context)}" if any(people.values()) else ""
    return f" There is no map of {listed(seeds)}{why}."


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
    yield from _tested_facts(context, contrast)
    yield "Exchange", capital(exchange_words(contrast.rows))
    yield "Variance", capital(variance_words(contrast.rows))
    if context.is_partial(contrast) and not contrast.edges.empty:
        yield "Edges", "Partial correlations, each given all other regions of the set"
    if contrast.families:
        sets = dict.fromkeys(permutation_words(contrast, family) for family in contrast.families)
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
    if contrast.repeated is not None:
        yield "Sensitivity", _repeated_words(contrast.repeated, contrast)
    yield "Smallest attainable p", significant(contrast.smallest_p, 2)
    for model in context.outputs.models:
        if model.name == contrast.model and model.contrasts[0].name == contrast.name:
            yield from (("Note", capital(context.names.text(note))) for note in model.notes)


def _tested_facts(context: Context, contrast: ContrastResult) -> Iterable[tuple[str, str]]:
    """What is unlike one t of one number per person."""
    rows = contrast.rows
    if rows.n_variates > 1:
        several = f"{rows.n_variates} orthonormal contrasts of the time points"
        yield "Values per row", f"{several}, tested together; a person's values keep together"
    if rows.covariate_weights:
        baseline = getattr(context.model_of(contrast), "before", "baseline")
        yield (
            "Baseline",
            f"Connectivity at {baseline} of the same voxel or edge, one more column in each of them",
        )
    if contrast.is_f:
        yield "Statistic", capital(statistic_words(contrast))


def _repeated_words(again: ContrastResult, contrast: ContrastResult) -> str:
    """The repetition with motion as a covariate, in words."""
    few = f", n = {again.n}" if again.n != contrast.n else ""
    added = added_words(again, contrast)
    return f"Repeated over edges with {added} as covariate ({again.name}{few}); not a test of its own"


def _design_picture(context: Context, contrast: ContrastResult) -> Picture:
    columns = [context.names.text(humanised(c)) for c in contrast.rows.columns]
    alt = f"Design matrix of {contrast.n} rows and the columns {listed(columns)}."
    caption = f"Design matrix: a row per person, each column scaled on its own. {_below(contrast)}"
    with style.look():
        figure = plots.design_matrix(contrast.rows.matrix, columns, contrast.rows.contrast)
        return style.save(context.folder, f"{stem(contrast)}_design", figure, alt, caption)


def _below(contrast: ContrastResult) -> str:
    """What stands below the matrix, and what the picture cannot show."""
    rank = contrast.rows.rank if contrast.is_f else 1
    what = "The contrast stands below it."
    if rank > 1:
        what = f"The {rank} combinations that F tests together stand below it."
    if contrast.rows.n_variates > 1:
        what += f" Each person has {contrast.rows.n_variates} values, which share this matrix."
    if contrast.rows.covariate_weights:
        own = "Connectivity" if contrast.rows.effect_type == "outcome" else "The baseline"
        what += f" {own} of each voxel or edge is one more column, which no single picture can show."
    return what


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
    pictures = [
        edges_section.matrix_picture(context, contrast),
        edges_section.forest_picture(context, contrast),
    ]
    table, more = edges_section.edge_tables(context, contrast)
    return page.ResultBlock(
        anchor_of(contrast, "result"),
        contrast.title,
        capital(contrast.words),
        contrast.status,
        contrast.planned,
        sentences(context, contrast) or ("Nothing could be tested.",),
        caution(context.model_of(contrast), contrast.base),
        comparisons.network_table(context, contrast),
        further_section.of_networks(context, contrast),
        further_section.closed(context, contrast),
        tuple(p for p in pictures if p),
        table,
        further_section.of_edges(context, contrast),
        more,
        comparisons.comparisons(context, contrast),
        edges_section.people_picture(context, contrast),
        tuple(_map_pictures(context, contrast)),
        clusters_table(context, contrast),
    )


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


def _map_pictures(context: Context, contrast: ContrastResult) -> list[Picture]:
    """Maps of seeds, and of comparisons of them, each kind with its own scale."""
    kinds = [_Kind("maps", contrast.maps, contrast.is_f), _Kind("factors", contrast.compared, True)]
    return [picture for kind in kinds if kind.maps for picture in _pictures_of(context, contrast, kind)]


@dataclass(frozen=True)
class _Kind:
    """Maps of one kind: how families call it, paths by name and statistic, whether they are of F."""

    name: str
    maps: Mapping[str, Mapping[str, Path]]
    is_f: bool

    @property
    def label(self) -> str:
        """The statistic."""
        return "F" if self.is_f else "t"

    @property
    def opaque(self) -> float:
        """From which value on a voxel is not transparent."""
        return OPAQUE_F if self.is_f else OPAQUE_T


def _pictures_of(context: Context, contrast: ContrastResult, kind: _Kind) -> list[Picture]:
    seeds = ordered(kind.maps)
    rows = {seed: _map_row(context, contrast, kind, seed) for seed in seeds}
    top = [
        np.nanquantile(np.abs(r.volume.data), 0.999)
        for r in rows.values()
        if np.isfinite(r.volume.data).any()
    ]
    limit = float(np.clip(max(top, default=4.0), *(LIMITS_OF_F if kind.is_f else LIMITS_OF_T)))
    pictures = [
        _mosaic(
            context,
            contrast,
            kind,
            [rows[s] for s in seeds[start : start + CHUNK]],
            start // CHUNK + 1,
            limit,
        )
        for start in range(0, len(seeds), CHUNK)
    ]
    detail = _peak_picture(context, contrast, kind, rows, limit)
    return pictures + ([detail] if detail else [])


def _map_row(context: Context, contrast: ContrastResult, kind: _Kind, seed: str) -> brain.Row:
    files = kind.maps[seed]
    volume = brain.read(files[kind.label])
    if seed in contrast.maps and seed not in contrast.mapped:
        note = lack_words(lacking(context, contrast, seed), "\n", 2)
        return brain.Row(seed, volume, note=note.replace(" and ", "\nand "))
    p = brain.read(files["pfwe"])
    if not np.isfinite(p.data).any():
        return brain.Row(seed, volume, note="empty: a seed is\nmissing in somebody")
    mask = brain.Volume((p.data <= context.alpha).astype(np.float32), p.affine)
    return brain.Row(seed, volume, mask, f"smallest p_fwe\n{p_cell(float(np.nanmin(p.data)))}")


def _mosaic(
    context: Context, contrast: ContrastResult, kind: _Kind, rows: list[brain.Row], number: int, limit: float
) -> Picture:
    label = kind.label
    what = "Comparisons of seeds, maps" if kind.name == "factors" else "Maps"
    caption = (
        f"{what} of {label}, n = {contrast.n}, on the template {brain.TEMPLATE} (a drawing ground only). "
        f"Black outline: "
        f"p_fwe ≤ {context.alpha:g} by the {correction_words(contrast, kind.name)}. "
        f"Opacity grows with {label if kind.is_f else f'|{label}|'} up to {kind.opaque:g}."
    )
    alt = f"Axial slices of the {label} maps of {listed([r.name for r in rows])}."
    with style.look():
        figure = brain.mosaic(rows, label, limit=limit, full=kind.opaque, signed=not kind.is_f)
        return style.save(
            context.folder, f"{stem(contrast)}_{kind.name}_{number}", figure, alt, caption, vector=False
        )


def _peak_picture(
    context: Context, contrast: ContrastResult, kind: _Kind, rows: Mapping[str, brain.Row], limit: float
) -> Picture | None:
    label = kind.label
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
        figure = brain.peaks(places, label, limit, kind.opaque, signed=not kind.is_f)
        ending = "peaks" if kind.name == "maps" else f"{kind.name}_peaks"
        return style.save(context.folder, f"{stem(contrast)}_{ending}", figure, alt, caption, vector=False)
