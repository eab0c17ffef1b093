"""Who was studied, and who was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd

from conn.exclusions import ANALYSES, OF_MEASURES
from conn.report import page
from conn.report.contract import Outputs, numeric, with_columns
from conn.report.designs import groupings
from conn.report.people import Names
from conn.report.words import EN_DASH, capital, count, decimals_for, fixed, humanised, listed
from conn.tables import MISSING

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "too_few_df": "too few degrees of freedom after cleaning",
        "too_few_seconds": "too few seconds of uncensored data",
        "bad_input": "an input file that cannot be used",
        "no_derivative": "no preprocessed image",
        "no_mask": "no brain mask",
        "no_confounds": "no confounds table",
        "not_fetched": "files not fetched from the annex",
        "no_time_point": "at none of the time points",
        "no_run": "no run of the task",
        "no_session": "a table row without session",
        "not_in_table": "not in the clinical table",
        "not_in_model": "not in a group model; the reason stands with its design",
        "not_in_analysis": "not in a clinical analysis; the reason stands with it",
        "low_coverage": "region covered too little by the image",
        "space_mismatch": "region defined in another template than the image",
        "region_missing": "given regions of which the scan lacks one",
        "too_many_regions": "given too many regions for the degrees of freedom",
        "collinear": "given regions that explain each other",
        "censored_frames": "censored volumes between the others",
    }
)
"""Fixed words of exclusions.tsv in words; others are shown with their underscores as blanks."""


KINDS = ("person", "scan", "region", "map or matrix", "row of a model", "person of an analysis")
"""What an exclusion can leave out, in the order of the table."""


def reason_words(code: str) -> str:
    """A reason of exclusions.tsv in words."""
    return REASONS.get(code, humanised(code))


def _kind(stage: str, reason: str, regions: bool, scans: bool) -> str:
    """What rows of one stage and reason leave out."""
    if reason in OF_MEASURES:
        return "map or matrix"
    if regions or scans:
        return "region" if regions else "scan"
    of_stage = {"design": "row of a model"} | dict.fromkeys(ANALYSES, "person of an analysis")
    return of_stage.get(stage, "person")


def exclusion_counts(outputs: Outputs) -> page.Table | None:
    """Exclusions by stage and reason: rows, people, scans, regions of scans in the analysis."""
    table = outputs.losses
    if table.empty:
        return None
    rows = []
    for (stage, reason), part in table.groupby(["stage", "reason"], sort=False):
        people = len({(d, s) for d, s in zip(part["dataset"], part["subject"], strict=True) if s != MISSING})
        scans = len({r for r in part["run"] if r != MISSING})
        regions = list(dict.fromkeys(r for r in part["roi"] if r != MISSING))
        what = _kind(str(stage), str(reason), bool(regions), bool(scans))
        rows.append(
            (
                capital(reason_words(str(reason))),
                str(stage),
                what,
                len(part),
                people,
                scans,
                listed(regions, 4),
            )
        )
    rows.sort(key=lambda r: (KINDS.index(r[2]), -r[3]))
    return page.table(
        "What was left out, by reason. A left-out region, map or matrix leaves the rest of its scan "
        "in the analysis.",
        ("Reason", "Stage", "Leaves out a", "Rows", "People", "Scans", "Which"),
        [(r[0], r[1], r[2], str(r[3]), str(r[4] or EN_DASH), str(r[5] or EN_DASH), r[6]) for r in rows],
        ("Rows", "People", "Scans"),
    )


def run_names(outputs: Outputs, names: Names, person: bool = True) -> dict[str, str]:
    """A short name of every run: person (if asked), time point, and what else tells its runs apart."""
    runs = outputs.runs
    tell = [c for c in ("task", "acq", "run_entity", "echo", "res") if len(set(runs[c])) > 1]
    short: dict[str, str] = {}
    for row in runs.to_dict("records"):
        when = row["time_point"] if row["time_point"] != MISSING else row["session"]
        parts = [names.person(row["dataset"], row["subject"])] if person else []
        parts += [when] if when not in {MISSING, "all"} else []
        parts += [f"{c.removesuffix('_entity')}-{row[c]}" for c in tell if row[c] != MISSING]
        text = " ".join(parts) or "the scan"
        short[row["run"]] = text if names.anonymise else names.text(text)
    return short


def exclusion_rows(outputs: Outputs, names: Names) -> page.Table | None:
    """Every row of exclusions.tsv, in words."""
    table = outputs.exclusions
    if table.empty:
        return None
    runs = run_names(outputs, names, person=False)
    rows = [
        (
            names.person(r["dataset"], r["subject"]),
            runs.get(r["run"], names.text(r["session"]) if r["session"] != MISSING else EN_DASH),
            r["roi"] if r["roi"] != MISSING else EN_DASH,
            r["stage"],
            capital(reason_words(r["reason"])),
            names.text(r["value"]),
            names.text(r["limit"]),
        )
        for r in table.to_dict("records")
    ]
    columns = ("Person", "Scan", "Region or measure", "Stage", "Reason", "Found", "Limit")
    return page.table(f"All {count(len(rows), 'row')} of exclusions.tsv.", columns, rows)


def cohort_tables(outputs: Outputs) -> list[page.Table]:
    """One table of characteristics for everybody and for each grouping that the models use."""
    cohort = outputs.cohort
    if cohort.empty:
        return []
    groupings = _groupings(outputs)
    if not groupings:
        return [_characteristics(outputs, cohort, {"Everybody": cohort}, "everybody")]
    return [
        _characteristics(outputs, cohort, {"Everybody": cohort, **_levels(cohort, g)}, humanised(g))
        for g in groupings
    ]


def _groupings(outputs: Outputs) -> list[str]:
    """Groups that models compare, then categories with two to six levels; at most three."""
    used = [name for m in outputs.config.models.values() for name in groupings(m)]
    categories = [k for k, v in outputs.config.clinical.variables.items() if v.kind == "category"]
    arms = [k for k in categories if k.lower() in {"arm", "group", "treatment", "diagnosis"}]
    present = [g for g in dict.fromkeys([*used, *arms]) if g in outputs.cohort.columns]
    return [g for g in present if 2 <= len(_levels(outputs.cohort, g)) <= 6][:3]


def _levels(cohort: pd.DataFrame, group: str) -> dict[str, pd.DataFrame]:
    levels = sorted({v for v in cohort[group] if v != MISSING})
    return {level: cohort[cohort[group] == level] for level in levels}


def _persons(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop_duplicates(["dataset", "subject"])


def _characteristics(
    outputs: Outputs, cohort: pd.DataFrame, parts: dict[str, pd.DataFrame], by: str
) -> page.Table:
    points = list(dict.fromkeys(cohort["time_point"]))
    rows: list[page.Row] = [_counts("People", [len(_persons(p)) for p in parts.values()])]
    for point in points:
        scanned = [int((_at(p, point)["runs"] != MISSING).sum()) for p in parts.values()]
        rows.append(_counts(f"with a scan in the analysis{_when(point, points)}", scanned))
    variables = outputs.config.clinical.variables
    for name, variable in variables.items():
        if name in cohort.columns and humanised(name) != by:
            rows += _variable(name, variable.kind, [_persons(p) for p in parts.values()])
    for scale in outputs.config.clinical.scales:
        rows += _scale(scale, points, list(parts.values()))
    for rule in ("response", "remission"):
        if rule in cohort.columns and rule != by and (cohort[rule] != MISSING).any():
            rows += _variable(rule, "category", [_persons(p) for p in parts.values()])
    for name, label in (("mean_fd", "Mean framewise displacement (mm)"), ("df", "Degrees of freedom")):
        for point in points:
            if name in cohort.columns:
                rows.append(
                    _means(f"{label}{_when(point, points)}", [_at(p, point)[name] for p in parts.values()])
                )
    heads = ["", *(f"{k} (n = {len(_persons(p))})" for k, p in parts.items())]
    return page.table(
        f"Characteristics of the cohort by {by}: counts, or mean ± SD (n when some are missing)."
        if by != "everybody"
        else "Characteristics of the cohort: counts, or mean ± SD (n when some are missing).",
        heads,
        [r for r in rows if any(c not in {MISSING, ""} for c in r.cells[1:])],
        heads[1:],
    )


def _when(point: str, points: Sequence[str]) -> str:
    return f", {point}" if len(points) > 1 else ""


def _at(table: pd.DataFrame, point: str) -> pd.DataFrame:
    return table[table["time_point"] == point]


def _counts(label: str, values: Iterable[int]) -> page.Row:
    return page.Row((label, *(str(v) for v in values)))


def mean_sd(values: pd.Series, decimals: int) -> str:
    """Mean ± SD; the number of people is added when some are missing."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    good = numbers[np.isfinite(numbers)]
    if not good.size:
        return MISSING
    spread = f" ± {fixed(float(good.std(ddof=1)), decimals)}" if good.size > 1 else ""
    few = f" ({good.size})" if good.size < numbers.size else ""
    return f"{fixed(float(good.mean()), decimals)}{spread}{few}"


def _means(label: str, parts: Sequence[pd.Series]) -> page.Row:
    """A row of means with the same number of decimals in all cells."""
    numbers = pd.to_numeric(pd.concat(parts), errors="coerce").abs()
    decimals = decimals_for([float(numbers.mean())], 3, 3)
    return page.Row((label, *(mean_sd(p, decimals) for p in parts)))


def _variable(name: str, kind: str, parts: list[pd.DataFrame]) -> list[page.Row]:
    label = capital(humanised(name))
    if kind == "number":
        return [_means(label, [p[name] for p in parts])]
    levels = list(dict.fromkeys(sorted(v for p in parts for v in p[name])))
    levels = [v for v in levels if v != MISSING] + ([MISSING] if MISSING in levels else [])
    if len(levels) > 12:
        return [page.Row((label, *(f"{p[name].nunique()} values" for p in parts)))]
    shown = {v: "unknown" if v == MISSING else humanised(v) for v in levels}
    return [
        page.Row((f"{label}: {shown[v]}", *(str(int((p[name] == v).sum())) for p in parts))) for v in levels
    ]


def _scale(scale: str, points: list[str], parts: list[pd.DataFrame]) -> list[page.Row]:
    rows = []
    for suffix, words in (("", ""), ("_change", " change"), ("_percent_change", " change in %")):
        column = f"{scale}{suffix}"
        for point in points:
            cells = [_at(with_columns(p, [column]), point)[column] for p in parts]
            if any((c != MISSING).any() for c in cells) and not _is_baseline(cells, suffix):
                rows.append(_means(f"{humanised(scale)}{words}, {point}", cells))
    return rows


def _is_baseline(cells: list[pd.Series], suffix: str) -> bool:
    """A change from the baseline to itself is not worth a row."""
    values = pd.to_numeric(pd.concat(cells), errors="coerce").dropna()
    return bool(suffix) and bool((values == 0).all())


def runs_table(outputs: Outputs, names: Names) -> page.Table:
    """Every run with its quality."""
    short = run_names(outputs, names)
    runs = numeric(outputs.runs, ["tr"])
    rows = [
        (
            short[r["run"]],
            fixed(r["volumes"], 0),
            fixed(r["tr"], 2),
            fixed(r["frames_kept"], 0),
            fixed(r["seconds_kept"], 0),
            fixed(r["df"], 0),
            fixed(r["mean_fd"], 3),
            "yes" if r["included"] else f"no: {reason_words(names.text(r['reason']))}",
        )
        for r in runs.to_dict("records")
    ]
    columns = ("Scan", "Volumes", "TR (s)", "Frames kept", "Seconds kept", "df", "Mean FD (mm)", "Included")
    return page.table("Every scan found.", columns, rows, columns[1:-1])
