"""What else differed where a model looks for an effect, and what is left of the effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from conn import paths
from conn.report import page
from conn.report.context import Context
from conn.report.contract import CONTRAST_WORDS, ModelResult, numeric
from conn.report.regions import edge
from conn.report.words import capital, count, fixed, interval, listed, p_cell, p_words, significant
from conn.tables import MISSING, read_tsv

TITLE = "What else differed"
MOST_REGIONS, MOST_EDGES = 40, 20
PLAIN_UNITS = ("ratio", "standardised", "share", "degrees of freedom")
"""Units that a sentence can do without."""

MEASURES: Mapping[str, str] = MappingProxyType(
    {
        "mean_fd": "mean framewise displacement",
        "dvars": "mean DVARS",
        "frames_kept": "frames kept",
        "df": "degrees of freedom (k)",
        "global_sd": "global signal, SD after cleaning",
        "tsnr": "tSNR",
        "coverage": "coverage of regions",
    }
)
SHORT: Mapping[str, str] = MappingProxyType(
    {
        "mean_fd": "FD", "dvars": "DVARS", "frames_kept": "Frames", "df": "k", "global_sd": "Global",
        "tsnr": "tSNR", "coverage": "Coverage", "all": "All",
    }
)  # fmt: skip

CAUTION = (
    "These tests are not corrected for their number: a confound that is missed costs more than a false "
    "alarm. That a "
    "measure does not differ significantly does not show that it is the same. Adjusting assumes that "
    "motion and "
    "signal quality act linearly and only disturb: if the drug changes them on its way to connectivity, "
    "adjusting "
    "takes a part of the effect away, and if they were measured with error, a part of the artefact "
    "stays. Neither "
    "column is the truth by itself; an effect that stands in both is safer."
)


def blocks(context: Context) -> list[page.Block]:
    """One block for each model that has such a table."""
    made = [block for model in context.outputs.models if (block := _block(context, model)) is not None]
    return [replace(block, caution="" if number else CAUTION) for number, block in enumerate(made)]


def _block(context: Context, model: ModelResult) -> page.Block | None:
    out = context.outputs.out
    file = out / paths.confounding(model.name)
    if not file.is_file():
        return None
    found = numeric(read_tsv(file), ["n", "estimate", "se", "df", "stat", "p", "ci_low", "ci_high", "g"])
    if found.empty:
        return None
    left = numeric(read_tsv(out / paths.adjustment(model.name)), ["estimate", "se", "df", "p", "share_left"])
    whole = found[found["roi"] == MISSING]
    varying = found[(found["roi"] != MISSING) & (found["varies"] == "true")]
    regions = varying[np.isfinite(varying["p"])].sort_values("p", kind="stable")
    tables = [_measures(context, whole)]
    effects = [_effects(context, model, name, left) for name in dict.fromkeys(left["contrast"])]
    tables += [table for table in effects if table is not None]
    single = _regions(context, regions, len(varying) - len(regions))
    folded = () if regions.empty else (("Coverage and tSNR of every region", single),)
    words = [*_differing(context, whole), *_of_regions(context, regions), *_remaining(context, model, left)]
    return page.Block(f"other-{model.name}", model.name, tuple(words), "", (), tuple(tables), folded)


def _shown(contrast: str) -> str:
    return CONTRAST_WORDS.get(contrast, contrast).replace("_", " ")


def _differing(context: Context, whole: pd.DataFrame) -> Iterator[str]:
    """Which measures differ, contrast by contrast."""
    for contrast, rows in whole.groupby("contrast", sort=False):
        tested = rows[np.isfinite(rows["p"])]
        found = tested[tested["p"] <= context.alpha].sort_values("p", kind="stable")
        if found.empty:
            yield (
                f"{capital(_shown(str(contrast)))}: none of {count(len(tested), 'measure')} differs at p ≤ "
                f"{context.alpha:g}; the intervals say how much could have gone unseen."
            )
            continue
        parts = [_difference(row) for row in found.to_dict("records")]
        yield f"{capital(_shown(str(contrast)))}: {listed(parts)}."


def _difference(row: Mapping[Any, Any]) -> str:
    name = MEASURES[row["measure"]]
    if not np.isfinite(row["estimate"]):
        return f"{name} differs ({p_words(row['p'])})"
    low, high = significant(row["ci_low"], 2), significant(row["ci_high"], 2)
    unit = "" if row["unit"] in PLAIN_UNITS else f" {row['unit']}"
    size = f"{significant(row['estimate'], 2)}{unit}"
    return f"{name} differs by {size} ({low} to {high}, {p_words(row['p'])})"


def _of_regions(context: Context, regions: pd.DataFrame) -> Iterator[str]:
    hits = regions[regions["p"] <= context.alpha]
    if len(hits):
        named = [f"{r['roi']} ({SHORT[r['measure']]})" for r in hits.to_dict("records")]
        yield (
            f"Of {count(len(regions), 'test')} on single regions, {len(hits)} "
            f"{'has' if len(hits) == 1 else 'have'} "
            f"p ≤ {context.alpha:g} ({context.alpha * len(regions):.1f} expected by chance): "
            f"{listed(named, 8)}."
        )


def _remaining(context: Context, model: ModelResult, left: pd.DataFrame) -> Iterator[str]:
    """What adjusting makes of those effects that are significant."""
    for contrast in model.contrasts:
        rows = left[left["contrast"] == contrast.name]
        last = "all" if (rows["adjustment"] == "all").any() else "mean_fd"
        hits = _significant(context, contrast)
        after = _by_effect(rows[rows["adjustment"] == last])
        known = [after[key] for key in hits if key in after]
        if not known:
            continue
        yield f"{capital(_shown(contrast.name))}: {what_is_left(context.alpha, known)}."


def what_is_left(alpha: float, known: Sequence[Mapping[Any, Any]]) -> str:
    """Significant effects with all measures held constant; without degrees of freedom there is no answer."""
    p = np.array([float(row["p"]) for row in known])
    share = np.array([float(row["share_left"]) for row in known])
    many = count(len(known), "edge or network", "edges and networks")
    lacking = _lacking(pd.DataFrame(known))
    everything = f"all measures but {listed(lacking)} (missing in somebody)" if lacking else "all measures"
    first = f"of {many} with p_fwe ≤ {alpha:g}"
    weak, unknown = int((p > alpha).sum()), int(np.isnan(p).sum())
    gone = "too few degrees of freedom are left"
    if unknown == len(known):
        return f"{first}, none can be judged with {everything} held constant, for {gone}"
    who = "it has" if len(known) == 1 and weak else f"{weak or 'none'} {'has' if weak < 2 else 'have'}"
    words = f"{first}, {who} an uncorrected p above it once {everything} are held constant"
    if unknown:
        words += f", and {unknown} cannot be judged, for {gone}"
    if np.isfinite(share).any():
        words += (
            f"; the median share of the estimate that is left is {100 * float(np.nanmedian(share)):.0f} %"
        )
    return words


def _lacking(rows: pd.DataFrame) -> list[str]:
    """Measures that are not held constant because somebody lacks them."""
    names = [name for cell in rows["lacking"] for name in str(cell).split(";")]
    return [MEASURES[name] for name in dict.fromkeys(names) if name in MEASURES]


def _by_effect(rows: pd.DataFrame) -> dict[tuple[str, str], dict[Any, Any]]:
    """Rows by the names of their edge or network."""
    return {(str(row["name"]), str(row["roi_b"])): row for row in rows.to_dict("records")}


def _significant(context: Context, contrast: Any) -> list[tuple[str, str]]:
    edges = contrast.edges[contrast.edges["p_fwe"] <= context.alpha]
    found = list(zip(edges["roi_a"], edges["roi_b"], strict=True))
    networks = contrast.networks[contrast.networks["p_fwe"] <= context.alpha]
    return found + [(name, MISSING) for name in networks["network"]]


def _measures(context: Context, whole: pd.DataFrame) -> page.Table:
    still = whole[whole["varies"] != "true"]
    rows = [
        page.Row(
            (
                _shown(r["contrast"]),
                MEASURES[r["measure"]],
                r["unit"],
                significant(r["estimate"], 3),
                _range(r),
                p_cell(r["p"]),
                fixed(r["g"], 2),
            ),
            strong=bool(r["p"] <= context.alpha),
        )
        for r in whole[whole["varies"] == "true"].to_dict("records")
    ]
    head = ("Contrast", "Measure", "Its unit", "Estimate", f"{context.level} CI", "p", "g or r")
    same = [MEASURES[name] for name in dict.fromkeys(still["measure"])]
    note = (
        "The same people, weights, matrix and rearrangements as for connectivity, with the measure in "
        "its place; motion "
        "is left out of the covariates here. Bold: p ≤ "
        f"{context.alpha:g}, not corrected. n/a: missing in somebody."
    )
    if same:
        note += f" The same in all rows of a contrast, and so not tested there: {listed(same)}."
    return page.table(
        "Measures of quality, tested as the model tests connectivity.", head, rows, head[3:], note
    )


def _range(row: Mapping[Any, Any]) -> str:
    if not (np.isfinite(row["ci_low"]) and np.isfinite(row["ci_high"])):
        return MISSING
    return f"{significant(row['ci_low'], 3)} to {significant(row['ci_high'], 3)}"


def _regions(context: Context, regions: pd.DataFrame, lost: int) -> page.Table:
    rows = [
        page.Row(
            (
                _shown(r["contrast"]),
                r["roi"],
                SHORT[r["measure"]],
                significant(r["estimate"], 2),
                interval(r["ci_low"], r["ci_high"], 3),
                p_cell(r["p"]),
            ),
            strong=bool(r["p"] <= context.alpha),
        )
        for r in regions.head(MOST_REGIONS).to_dict("records")
    ]
    head = ("Contrast", "Region", "Measure", "Estimate", f"{context.level} CI", "p")
    caption = f"Regions whose coverage or tSNR varies, {len(rows)} of {len(regions)} tests, smallest p first."
    note = f"{count(lost, 'further test')} could not be made: missing in somebody." if lost else ""
    return page.table(caption, head, rows, head[3:], note)


def _effects(context: Context, model: ModelResult, contrast: str, left: pd.DataFrame) -> page.Table | None:
    """Estimates before and after, of networks and of the edges that matter most."""
    rows = left[left["contrast"] == contrast]
    tested = next((c for c in model.contrasts if c.name == contrast), None)
    plain = rows[rows["adjustment"] == "none"].sort_values("p", kind="stable")
    if tested is None or not np.isfinite(plain["p"].to_numpy(float)).any():
        return None
    ordered = _by_effect(plain)
    hits = [key for key in _significant(context, tested) if key in ordered]
    edges = [key for key, row in ordered.items() if row["kind"] == "edge"]
    networks = [key for key, row in ordered.items() if row["kind"] == "network"]
    keys = list(dict.fromkeys([*networks, *hits, *edges[:3]]))[:MOST_EDGES]
    used = dict.fromkeys(rows[rows["measures"] != MISSING]["adjustment"])
    wanted = sorted((str(name) for name in used), key=lambda name: name != "all")
    by_round = {name: _by_effect(rows[rows["adjustment"] == name]) for name in ("none", *wanted)}
    cells = [
        page.Row((_named(key), *(_cell(one[key]) for one in by_round.values())), strong=key in hits)
        for key in keys
    ]
    head = ("Edge or network", "As it stands", *(f"+ {SHORT[name]}" for name in wanted))
    note = "Estimate (uncorrected parametric p), as it stands and with each measure as one more covariate."
    if not np.isfinite(plain["estimate"].to_numpy(float)).any():
        note = "Uncorrected parametric p of F, as it stands and with each measure as one more covariate."
    note += f" Bold: p_fwe ≤ {context.alpha:g} in the results."
    if any(MISSING in row.cells for row in cells):
        note += " n/a: too few degrees of freedom are left."
    lacking = _lacking(rows)
    if lacking:
        note += f" Not held constant, because somebody lacks it: {listed(lacking)}."
    return page.table(f"Effects before and after adjusting, {_shown(contrast)}.", head, cells, head[1:], note)


def _named(key: tuple[str, str]) -> str:
    return key[0] if key[1] == MISSING else edge(*key)


def _cell(row: Mapping[Any, Any]) -> str:
    if not np.isfinite(row["p"]):
        return MISSING
    p = p_cell(float(row["p"]))
    return f"{fixed(float(row['estimate']), 3)} ({p})" if np.isfinite(row["estimate"]) else p
