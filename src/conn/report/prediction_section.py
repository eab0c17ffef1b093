"""Predictions: the honest score beside the circular one, and what to know before believing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from conn import paths
from conn.clinic.prediction.scores import SCORES
from conn.clinic.prediction.summary import TITLES
from conn.files import read_json
from conn.points import at
from conn.report import page, prediction_plots, style, undone
from conn.report.context import Context
from conn.report.style import Picture
from conn.report.words import MISSING, capital, count, fixed, interval, p_words
from conn.tables import read_tsv

KIND = "prediction"
CAUTION = (
    "A score in people not seen is an estimate of what this procedure does in people like these, scanned and "
    "treated like these. It is no reason to use the model for anybody's treatment: that needs a test in "
    "another study, with a threshold fixed beforehand. Which features carry a prediction is not tested here."
)


def blocks(context: Context) -> Iterator[page.Block]:
    """One block for each prediction whose results are there."""
    for name in undone.done(context.outputs, KIND):
        yield _block(context, name, read_json(context.outputs.out / paths.analysis(KIND, name)))
    yield from undone.blocks(context, KIND)


def _block(context: Context, name: str, record: Mapping[str, Any]) -> page.Block:
    folded = [("Who is not in it", _excluded(context, record))] if record["excluded"] else []
    if record["left_out"] is not None:
        folded.insert(0, ("Each group predicted by the others", _groups(record)))
    return page.Block(
        f"{KIND}-{name}",
        f"{name}: {record['outcome']} from the scan{at(record['at'])}",
        tuple(context.names.text(sentence) for sentence in record["words"]),
        CAUTION,
        (_picture(context, name, record),),
        (_scores(context, record),),
        tuple(folded),
        str(record.get("status", "")),
        tuple(context.names.text(sentence) for sentence in _headline(record)),
    )


def _headline(record: Mapping[str, Any]) -> Iterator[str]:
    yield record["words"][1]
    if record["total"] is not None:
        yield f"Against chance: {p_words(record['total']['p'])}."


def _scores(context: Context, record: Mapping[str, Any]) -> page.Table:
    outside = record["external"]
    columns = ["Score", "Not seen", f"{context.level} interval", "Apparent (circular)"]
    if record["clinical_scores"] is not None:
        columns += ["Clinical only", "Interval of that"]
    if outside is not None:
        columns += [f"In {', '.join(record['test'])}", "Interval there"]
    rows = []
    for name in SCORES[record["kind"]]:
        cells = [capital(TITLES[name]), *_pair(record["scores"][name]), _cell(record["apparent"][name])]
        if record["clinical_scores"] is not None:
            cells += _pair(record["clinical_scores"][name])
        if outside is not None:
            cells += _pair(outside[name])
        rows.append(page.Row(tuple(cells), strong=name == record["tested_score"]))
    plan = record["plan"]
    within = "AUC and balanced accuracy are averaged within folds. " if record["kind"] == "classifier" else ""
    note = (
        f"n = {record['n']}; {plan['n_folds']} folds dealt {count(plan['repeats'], 'time')}; everything is "
        f"learnt inside the fold. {within}Intervals are made of folds within folds; calibration has none. "
        "Slope 1 and intercept 0 are ideal. Apparent: in the people whom the model was fitted to, which is "
        "circular."
    )
    return page.table("Scores of the prediction.", columns, rows, columns[1:], note)


def _pair(found: Mapping[str, Any]) -> list[str]:
    low, high = found["low"], found["high"]
    return [_cell(found["estimate"]), MISSING if low is None else interval(low, high, 2)]


def _cell(value: float | None) -> str:
    return MISSING if value is None else fixed(value, 2)


def _groups(record: Mapping[str, Any]) -> page.Table:
    title = capital(TITLES[record["tested_score"]])
    rows = [(one["name"], str(one["n"]), _cell(one["score"])) for one in record["left_out"]["groups"]]
    return page.table("Predicted by a model of all other groups.", ("Group", "n", title), rows, ("n", title))


def _excluded(context: Context, record: Mapping[str, Any]) -> page.Table:
    rows = [
        (context.names.person(one["dataset"], one["subject"]), one["reason"].replace("_", " "))
        for one in record["excluded"]
    ]
    return page.table("People without what the prediction needs.", ("Person", "Reason"), rows)


def _picture(context: Context, name: str, record: Mapping[str, Any]) -> Picture:
    table = read_tsv(context.outputs.out / paths.analysis(KIND, name, ".tsv"))
    table = table[table["part"] == "cross_validation"].astype({"observed": float, "predicted": float})
    people = table.groupby(["dataset", "subject"], sort=True)[["observed", "predicted"]].mean()
    with style.look():
        figure = prediction_plots.panels(
            record, people["observed"].to_numpy(), people["predicted"].to_numpy()
        )
    score = record["scores"][record["tested_score"]]
    title = TITLES[record["tested_score"]]
    first = "ROC" if record["roc"] is not None else "Predicted and observed outcome"
    found = f"{title} {_cell(score['estimate'])}, {context.level} interval {_pair(score)[1]}"
    caption = (
        f"{first}, calibration and learning curve of {name}, n = {record['n']}; {found}. All of people "
        "whom the model had not seen. "
        + ("Band: 10th to 90th percentile of repeats, not a confidence interval. " if record["roc"] else "")
        + "Calibration: predictions of each person averaged over repeats."
    )
    return style.save(context.folder, f"{KIND}-{name}", figure, f"{first} of {name}: {found}.", caption)
