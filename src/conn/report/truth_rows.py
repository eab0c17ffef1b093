"""Estimates of what the simulator planted between connectivity and the clinic, each beside its truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from conn import paths
from conn.config.model import GroupByTime, Moderator, ParallelArms, Regression, TwoSample
from conn.files import read_json
from conn.report import undone
from conn.report.association_section import read as read_association
from conn.report.context import Context
from conn.report.contract import ContrastResult, numeric
from conn.report.mediation_results import results as mediations
from conn.report.truth_study import MOTION, RESPONSE, TruthStudy, ends
from conn.stages.association_result import EVERYBODY
from conn.tables import MISSING, read_tsv

NAN = float("nan")
PATHS = {
    "a": "a: {order}, Fisher z",
    "b": "b: points per z",
    "ab": "ab: through connectivity, points",
    "c_prime": "c′: past connectivity, points",
    "c": "c: total, {order}, points",
    "proportion": "ab / c: share of the total",
}
TURNED = ("a", "ab", "c_prime", "c")
"""Paths that change sign when arms change places."""


@dataclass(frozen=True)
class Quantity:
    """One number that was planted, and an estimate of it.

    Attributes
    ----------
    name
        What it is, with its unit.
    asked_by
        The analysis that estimates it.
    planted
        Of true connectivity and of scores that are not rounded.
    measurable
        What an analysis finds on average; its interval should hold this.
    estimate, low, high
        With its interval; NaN where there is none.
    p_fwe
        Family-wise p of the effect; NaN where there is none.
    nothing
        Value that says that nothing is there.
    """

    name: str
    asked_by: str
    planted: float
    measurable: float
    estimate: float
    low: float
    high: float
    p_fwe: float = NAN
    nothing: float = 0.0

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return bool(np.isfinite([self.low, self.high]).all())

    @property
    def holds(self) -> bool:
        """Whether the interval holds the value that an analysis finds on average."""
        return self.low <= self.measurable <= self.high

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out the value that says that nothing is there."""
        return self.known and not self.low <= self.nothing <= self.high


@dataclass(frozen=True)
class Answer:
    """A clinical truth and every estimate of it in this study."""

    entry: Mapping[str, Any]
    quantities: tuple[Quantity, ...] = field(default=())


def answers(context: Context) -> list[Answer]:
    """Every clinical truth of the truth file, with the estimates of the same quantity; there may be none.

    Parameters
    ----------
    context
        What the report is about.
    """
    if context.outputs.truth is None:
        return []
    study = TruthStudy.of(context.outputs)
    return [
        Answer(entry, tuple(find(context, study, entry)))
        for kind, find in _FINDERS.items()
        for entry in study.entries(kind)
    ]


def _value(entry: Mapping[str, Any], side: str, key: str, sign: int = 1) -> float:
    """A number of an entry, NaN where it states none."""
    found = dict(entry.get(side) or {}).get(key)
    return NAN if found is None else sign * float(found)


def _both(entry: Mapping[str, Any], key: str, sign: int = 1) -> tuple[float, float]:
    return _value(entry, "planted", key, sign), _value(entry, "measured", key, sign)


def _order(levels: Sequence[str]) -> str:
    """What is subtracted from what."""
    return f"{levels[0]} minus {levels[1]}"


def _within(study: TruthStudy, arm: str) -> str:
    """Start of the name of a quantity that holds in one of several arms."""
    return f"{arm}: " if len(study.truth.get("groups", ())) > 1 else ""


def _of_edge(table: pd.DataFrame, entry: Mapping[str, Any], a: str = "roi_a") -> list[dict[str, Any]]:
    """Rows of the edge that an entry is about."""
    rows = table.to_dict("records")
    return [{str(k): v for k, v in r.items()} for r in rows if {r[a], r["roi_b"]} == ends(entry)]


# --------------------------------------------------------------------------------------------- mediation


def _mediation(context: Context, study: TruthStudy, entry: Mapping[str, Any]) -> Iterator[Quantity]:
    for result in mediations(context.outputs.out, context.outputs.config):
        asked = result.settings
        sign = study.sign(asked.arm, asked.levels, entry["arms"])
        same = (
            sign
            and study.spans(asked.before, asked.after)
            and study.scale(asked.outcome, entry["score"], asked.before, asked.after)
            and study.people(asked.subset, entry["arms"])
            and study.harmless((*asked.covariates, *asked.strata), *ends(entry))
            and asked.edge_measure == "pearson"
        )
        rows = _of_edge(result.table[result.table["kind"] == "edge"], entry) if len(result.table) else []
        for row in rows if same else []:
            for key, name in PATHS.items():
                sides = _both(entry, key, sign if key in TURNED else 1)
                shown = [row[k] for k in (key, f"{key}_ci_low", f"{key}_ci_high")]
                if key == "proportion" and row["proportion_flag"] != MISSING:
                    shown = [NAN] * 3
                p_fwe = row["p_fwe"] if key == "ab" else NAN
                told = name.format(order=_order(asked.levels))
                yield Quantity(told, result.name, *sides, shown[0], shown[1], shown[2], p_fwe)


# ------------------------------------------------------------------------------------------ associations


def _association(context: Context, study: TruthStudy, entry: Mapping[str, Any]) -> Iterator[Quantity]:
    for name in undone.done(context.outputs, "association"):
        asked = context.outputs.config.associations[name]
        same = (
            study.spans(asked.before, asked.after)
            and study.harmless((*asked.covariates, *asked.strata), *ends(entry))
            and not asked.adjusted
            and asked.edge_measure == "pearson"
        )
        people = _people_of(study, asked, entry["arms"])
        if not (same and people):
            continue
        for row in _of_edge(read_association(context, name).table, entry):
            counted = study.reference(str(row["scale"]), entry["score"], asked.before, asked.after)
            if counted == "change" and row["arm"] == people:
                where = "" if len(entry["arms"]) > 1 else f" in {people if asked.arm else entry['arms'][0]}"
                shown = (row["r"], row["ci_low"], row["ci_high"], row["p_fwe"])
                yield Quantity(f"r of changes{where or ' within arms'}", name, *_both(entry, "r"), *shown)


def _people_of(study: TruthStudy, asked: Any, arms: list[str]) -> str:
    """What the table of an association calls the people of these arms; empty when it has no such rows."""
    if asked.arm is None:
        # People of two arms together, without holding the arm constant, are another question.
        return EVERYBODY if len(arms) == 1 and study.people(asked.subset, arms) else ""
    own = study.arms_of(asked.arm, asked.levels)
    if not study.people(asked.subset, own):
        return ""
    if len(arms) == 1:
        return next((level for level, arm in zip(asked.levels, own, strict=False) if [arm] == arms), "")
    return EVERYBODY if set(own) == set(arms) else ""


# -------------------------------------------------------------------------- responders and prediction


def _prediction(context: Context, study: TruthStudy, entry: Mapping[str, Any]) -> Iterator[Quantity]:
    arm = entry["arms"][0]
    for contrast, model in _contrasts(context, study, entry):
        if not study.people(model.subset, entry["arms"]):
            continue
        for row in _of_edge(contrast.edges, entry):
            yield from _responders(study, contrast, model, entry, row)
            if isinstance(model, Regression) and study.is_first(model.at) and model.at is not None:
                yield from _foretold(study, contrast, model, entry, row)
    yield from _area(context, study, entry, arm)


def _responders(
    study: TruthStudy, contrast: ContrastResult, model: Any, entry: Mapping[str, Any], row: Mapping[str, Any]
) -> Iterator[Quantity]:
    """Differences between responders and others, where a model compares them."""
    if not isinstance(model, TwoSample | GroupByTime) or model.group != "response":
        return
    sign = 1 if model.levels == RESPONSE else -1 if model.levels == RESPONSE[::-1] else 0
    if not sign or not study.responds(entry["score"]):
        return
    before, after = (_both(entry, f"difference{end}", sign) for end in ("", "_after"))
    shown = (row["estimate"], row["ci_low"], row["ci_high"], row["p_fwe"])
    where = _within(study, entry["arms"][0])
    who = "responders minus others" if sign == 1 else "others minus responders"
    if isinstance(model, GroupByTime):
        if contrast.base == "interaction" and study.spans(model.before, model.after):
            sides = tuple(two - one for one, two in zip(before, after, strict=True))
            yield Quantity(f"{where}{who}, change of Fisher z", contrast.model, sides[0], sides[1], *shown)
    elif contrast.base == "difference" and study.is_first(model.at):
        yield Quantity(f"{where}{who} before treatment, Fisher z", contrast.model, *before, *shown)
    elif contrast.base == "difference" and study.is_later(model.at):
        yield Quantity(f"{where}{who} after treatment, Fisher z", contrast.model, *after, *shown)


def _foretold(
    study: TruthStudy,
    contrast: ContrastResult,
    model: Regression,
    entry: Mapping[str, Any],
    row: Mapping[str, Any],
) -> Iterator[Quantity]:
    """Correlation of connectivity before treatment with the change of the score."""
    baseline = study.clinical.baseline
    name, _, what = model.predictor.partition(".")
    ends_at = study.clinical.endpoint
    if what != "change" or not study.spans(baseline, ends_at):
        return
    if study.scale(name, entry["score"], baseline, ends_at) and row.get("g_type") == "partial_r":
        sides = _both(entry, "r", study.improving(entry["score"]))
        shown = (row["g"], row["g_ci_low"], row["g_ci_high"], row["p_fwe"])
        where = _within(study, entry["arms"][0])
        yield Quantity(f"{where}r with the change of the score", contrast.model, *sides, *shown)


def _area(context: Context, study: TruthStudy, entry: Mapping[str, Any], arm: str) -> Iterator[Quantity]:
    """Area under the curve, where the edge is all that response is predicted from."""
    for name in undone.done(context.outputs, "prediction"):
        asked = context.outputs.config.prediction[name]
        alone = asked.features == "edges" and not isinstance(asked.edges, str) and len(asked.edges) == 1
        same = (
            alone
            and set(asked.edges[0][:2]) == ends(entry)
            and asked.outcome == "response"
            and asked.clinical == ()
            and asked.edge_measure == "pearson"
            and not (asked.train or asked.harmonise)
            and study.responds(entry["score"])
            and study.people(asked.subset, (arm,))
            and study.harmless((*asked.remove, *asked.strata), *ends(entry))
        )
        end = "" if study.is_first(asked.at) else "_after" if study.is_later(asked.at) else None
        if not same or end is None:
            continue
        found = read_json(context.outputs.out / paths.analysis("prediction", name))["scores"]["auc"]
        shown = [NAN if found[key] is None else float(found[key]) for key in ("estimate", "low", "high")]
        # The model learns on which side responders lie.
        sides = [max(value, 1 - value) for value in _both(entry, f"auc{end}")]
        when = "after" if end else "before"
        told = f"{_within(study, arm)}area under the curve {when} treatment"
        yield Quantity(told, name, sides[0], sides[1], shown[0], shown[1], shown[2], nothing=0.5)


# --------------------------------------------------------------------------------------------- moderation


def _moderation(context: Context, study: TruthStudy, entry: Mapping[str, Any]) -> Iterator[Quantity]:
    for contrast, model in _contrasts(context, study, entry):
        if not isinstance(model, Moderator) or contrast.base != "moderation":
            continue
        sign = study.sign(model.arm, model.levels, entry["arms"])
        if not (sign and study.is_first(model.at) and study.people(model.subset, entry["arms"])):
            continue
        if not _outcome(study, model, entry["score"]):
            continue
        for row in _of_edge(contrast.edges, entry):
            shown = (row["estimate"], row["ci_low"], row["ci_high"], row["p_fwe"])
            name = f"slope on connectivity, {_order(model.levels)}, points per z"
            yield Quantity(name, contrast.model, *_both(entry, "interaction", sign), *shown)


def _outcome(study: TruthStudy, model: Moderator, score: str) -> bool:
    """Whether the outcome is the score after treatment, given that before it."""
    name, _, after = model.outcome.partition(".")
    before = study.clinical.baseline
    own = model.baseline in (None, f"{name}.{before}")
    return own and study.spans(before, after) and study.scale(name, score, before, after)


# ------------------------------------------------------------------------------------------------ motion


def _artefact(context: Context, study: TruthStudy, entry: Mapping[str, Any]) -> Iterator[Quantity]:
    seen: dict[str, None] = {}
    for contrast, model in _contrasts(context, study, entry, motion=True):
        asks = isinstance(model, ParallelArms) and contrast.base in ("adjusted", "change")
        asks |= isinstance(model, GroupByTime) and contrast.base == "interaction"
        if not asks or contrast.model in seen or not study.spans(model.before, model.after):
            continue
        name = model.arm if isinstance(model, ParallelArms) else model.group
        sign = study.sign(name, model.levels, entry["arms"])
        if sign and study.people(model.subset, entry["arms"]):
            # The first contrast of a model speaks for it; the second one asks the same here.
            seen[contrast.model] = None
            yield from _unmasked(context, contrast, entry, (sign, _order(model.levels)))


def _unmasked(
    context: Context, contrast: ContrastResult, entry: Mapping[str, Any], order: tuple[int, str]
) -> Iterator[Quantity]:
    """Motion itself, and the effect before and after it is held constant; `order` is its sign and words."""
    (sign, words), out = order, context.outputs.out
    measures, left = out / paths.confounding(contrast.model), out / paths.adjustment(contrast.model)
    if not (measures.is_file() and left.is_file()):
        return
    found = numeric(read_tsv(measures), ["estimate", "ci_low", "ci_high", "p"])
    found = found[(found["contrast"] == contrast.name) & (found["measure"] == MOTION)]
    for row in found[found["roi"] == MISSING].to_dict("records"):
        shown = (row["estimate"], row["ci_low"], row["ci_high"])
        name = f"mean FD, {words}, mm"
        yield Quantity(name, contrast.title, *_both(entry, "difference_fd", sign), *shown)
    effects = numeric(read_tsv(left), ["estimate", "se", "df"])
    effects = effects[(effects["contrast"] == contrast.name) & (effects["kind"] == "edge")]
    for adjustment, key, name in (
        ("none", "unadjusted", f"as it stands, {words}, Fisher z"),
        (MOTION, "adjusted", "with motion held constant, Fisher z"),
    ):
        for left_of in _of_edge(effects[effects["adjustment"] == adjustment], entry, "name"):
            half = left_of["se"] * stats.t.isf(context.alpha / 2, left_of["df"])
            shown = (left_of["estimate"], left_of["estimate"] - half, left_of["estimate"] + half)
            yield Quantity(name, contrast.title, *_both(entry, key, sign), *shown)


# ----------------------------------------------------------------------------------------------- sharing


def _contrasts(
    context: Context, study: TruthStudy, entry: Mapping[str, Any], motion: bool = False
) -> Iterator[tuple[ContrastResult, Any]]:
    """Contrasts of full correlations whose covariates leave the truth as it is, with their models.

    With `motion` it may be among the covariates: what is read then leaves it out, or puts it in.
    """
    for contrast in context.outputs.contrasts():
        model: Any = context.model_of(contrast)
        held = [name for name in (*model.covariates, *model.strata) if not (motion and name == MOTION)]
        if not (contrast.is_f or context.is_partial(contrast)) and study.harmless(held, *ends(entry)):
            yield contrast, model


_FINDERS = {
    "mediation": _mediation,
    "association": _association,
    "prediction": _prediction,
    "moderation": _moderation,
    "artefact": _artefact,
}
"""In the order of the page."""
