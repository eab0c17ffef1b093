"""Change and baseline in the people of a model: regression to the mean and coupling, said with numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from conn import paths
from conn.report import page
from conn.report.context import Context
from conn.report.contract import Outputs, numeric
from conn.report.regions import edge
from conn.report.words import count, fixed, humanised, interval, p_cell, p_words, significant
from conn.tables import read_tsv

MOST = 20
NUMBERS = (
    "n", "r", "baseline_change", "baseline_low", "baseline_high", "expected",
    "oldham", "oldham_low", "oldham_high", "variance_ratio", "ratio_low", "ratio_high", "p",
)  # fmt: skip
CAUTION = (
    "A change holds the baseline with the opposite sign. Whoever is extreme once is less so the next "
    "time, so change "
    "goes with baseline even where nothing was done (regression to the mean), and groups that are formed "
    "by change, "
    "such as responders, differ in the baseline of what changed for that reason alone. Oldham's "
    "correlation, of "
    "change with the mean of both measurements, is free of error of measurement that is the same both "
    "times. It is 0 "
    "when the variances are equal, and it is not 0 either where treatment makes people more alike or less."
)


def blocks(context: Context) -> Iterable[page.Block]:
    """One block for each model that speaks of scores."""
    caution = CAUTION
    for model in context.outputs.models:
        file = context.outputs.out / paths.coupling(model.name)
        found = numeric(read_tsv(file), NUMBERS) if file.is_file() else pd.DataFrame()
        if len(found) and np.isfinite(found["r"]).any():
            yield replace(_block(context, model.name, found), caution=caution)
            caution = ""


def ran(outputs: Outputs) -> bool:
    """Whether change was held against baseline in any model."""
    return any((outputs.out / paths.coupling(model.name)).is_file() for model in outputs.models)


def methods(outputs: Outputs) -> Iterable[str]:
    """What the methods text says of change and baseline."""
    if ran(outputs):
        yield (
            "Regression to the mean and coupling were looked at by the correlation of change with the mean "
            "of both measurements (Oldham 1962) and the ratio of their variances, tested by the correlation "
            "of sum and difference (Pitman 1939; Morgan 1939)."
        )


def _block(context: Context, model: str, found: pd.DataFrame) -> page.Block:
    scales = found[found["kind"] == "scale"]
    edges = found[(found["kind"] == "edge") & np.isfinite(found["r"])].sort_values("p", kind="stable")
    words = [_scale_words(row) for row in scales.to_dict("records") if np.isfinite(row["r"])]
    folded = []
    if len(edges):
        words.append(_edge_words(context, edges))
        folded.append(
            (
                f"Change and baseline of edges, {min(MOST, len(edges))} of {len(edges)}",
                _table(context, edges.head(MOST)),
            )
        )
    tables = (_table(context, scales),) if len(scales) else ()
    return page.Block(
        f"coupling-{model}", f"{model}: change and baseline", tuple(words), "", (), tables, tuple(folded)
    )


def _scale_words(row: Mapping[Any, Any]) -> str:
    name = humanised(str(row["name"]))
    verdict = "does not differ" if row["ratio_low"] <= 1 <= row["ratio_high"] else "differs"
    return (
        f"{name}: change goes with baseline, r = {fixed(row['baseline_change'], 2)} in {int(row['n'])} "
        f"people. With equal "
        f"variances and the correlation of {fixed(row['r'], 2)} between both times it would be "
        f"{fixed(row['expected'], 2)} anyway. Oldham's correlation is {fixed(row['oldham'], 2)} "
        f"({interval(row['oldham_low'], row['oldham_high'], 2)}, {p_words(row['p'])}); the variance "
        f"{verdict} between both "
        f"times (ratio {significant(row['variance_ratio'], 2)}, "
        f"{interval(row['ratio_low'], row['ratio_high'], 2)})."
    )


def _edge_words(context: Context, edges: pd.DataFrame) -> str:
    hits = int((edges["p"] <= context.alpha).sum())
    return (
        f"Edges: the median correlation of change with baseline is "
        f"{fixed(float(edges['baseline_change'].median()), 2)}, "
        f"of which {fixed(float(edges['expected'].median()), 2)} would be there with equal variances; "
        f"Oldham's "
        f"correlation has p ≤ {context.alpha:g} in {hits} of {count(len(edges), 'edge')} "
        f"({context.alpha * len(edges):.1f} expected by chance)."
    )


def _table(context: Context, rows: pd.DataFrame) -> page.Table:
    cells = [_row(context, row) for row in rows.to_dict("records")]
    head = (
        "What", "n", "r of both times", "r, baseline and change", "with equal variances", "Oldham's r",
        "Variance ratio", "p",
    )  # fmt: skip
    note = (
        f"Intervals at {context.level}. p: of Oldham's correlation, which is the test of Pitman and "
        f"Morgan for equal "
        "variances; not corrected."
    )
    return page.table(
        "Change against baseline, in the people of the first contrast.", head, cells, head[1:], note
    )


def _row(context: Context, row: Mapping[Any, Any]) -> page.Row:
    name = humanised(str(row["name"])) if row["kind"] == "scale" else edge(row["name"], row["roi_b"])
    return page.Row(
        (
            name,
            fixed(row["n"], 0),
            fixed(row["r"], 2),
            f"{fixed(row['baseline_change'], 2)} ({interval(row['baseline_low'], row['baseline_high'], 2)})",
            fixed(row["expected"], 2),
            f"{fixed(row['oldham'], 2)} ({interval(row['oldham_low'], row['oldham_high'], 2)})",
            f"{significant(row['variance_ratio'], 2)} ({interval(row['ratio_low'], row['ratio_high'], 2)})",
            p_cell(row["p"]),
        ),
        strong=bool(row["p"] <= context.alpha),
    )
