"""`conn init`: look at a data set and write an annotated configuration to start from.

What was found stands in the file; what is a guess says so. Lines that begin with ``#`` and a letter are
suggestions: take the ``#`` away to use them.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from conn import confounds, images, projection
from conn.bids import acquisition, alphanumeric, bare_label, parse, producers, scan, sidecar
from conn.check import PREFERRED, WANTED_SHARE
from conn.cohort import FIRST_COLUMNS
from conn.config.model import Config, Denoise
from conn.errors import ConfigError, ConnError, InputError
from conn.files import write_text
from conn.index import NATIVE, Run, build_index
from conn.points import ALL
from conn.presets import Preset
from conn.stages.project import repetition_time
from conn.tables import MISSING, read_tsv

SPACES = ("MNI152NLin2009cAsym", "MNI152NLin6Asym")
"""Spaces in the order in which they are chosen when there are several."""

LOOKED_AT = 12
"""Runs whose confounds are read for the proposal of a strategy."""

MOST_LEVELS = 12
"""A column with more different texts is no category."""

MISSING_WORDS = frozenset({"", "NA", "N/A", "na", "NaN", "nan", "null", "-", ".", "missing", "unknown"})
"""What people write for missing; proposed as missing codes where the rest of a column are numbers."""

_EARLY = ("pre", "baseline", "base", "bl", "before", "screening", "placebo", "sham", "control", "saline")
_LATE = ("post", "after", "end", "endpoint")
_LATEST = ("followup", "follow", "fu", "fup")
_CONTROL = re.compile(
    r"placebo|sham|control|saline|no.?treat|wait|healthy|\bhc\b|^con$|^ctrl$|^p$", re.IGNORECASE
)
_ARM = re.compile(
    r"^(arm|treatment|drug|intervention|allocation|randomi[sz]ation|condition)s?$", re.IGNORECASE
)
_GROUP = re.compile(r"^(group|diagnosis|dx|type|cohort|patient_?group)$", re.IGNORECASE)
_CATEGORY = re.compile(
    r"^(sex|gender|site|scanner|cent(er|re)|sequence|order|infusion_?\d*|study)$", re.IGNORECASE
)
_NUMBER = re.compile(r"^(age|bmi|education|years_?of_?education)$", re.IGNORECASE)
_SYMPTOMS = re.compile(
    r"madrs|ham.?d|ham.?17|hdrs|bdi|qids|ids|phq|zung|stai|panss|y.?bocs|caps|pcl|bpi|pain", re.IGNORECASE
)
_NUMERAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def write_configuration(
    bids_dir: Path, derivatives: Path | None, output: Path, design: Preset | None = None
) -> str:
    """Look at a data set and write a configuration that `conn check` can read.

    Parameters
    ----------
    bids_dir
        The BIDS data set.
    derivatives
        fMRIPrep's output folder; None looks for it in `derivatives` inside `bids_dir`.
    output
        File to write. Paths in it are relative to its folder.
    design
        Models and analyses of a study, in place of a guess. The names that they use must be made to fit.

    Returns
    -------
    str
        What was found, what is missing, and the next command.

    Raises
    ------
    ConfigError
        `output` is there already, or `bids_dir` is no folder with subjects.
    """
    if output.exists():
        raise ConfigError(f"{output}: the file is there already; choose another name with -o, or remove it")
    if not bids_dir.is_dir():
        raise ConfigError(f"{bids_dir}: there is no such folder")
    if derivatives is not None and not derivatives.is_dir():
        raise ConfigError(f"{derivatives}: there is no such folder (--derivatives)")
    scans = _look_at_scans(bids_dir, derivatives)
    if not scans.subjects:
        raise ConfigError(f"{bids_dir}: no sub-* folder; is this the top folder of a BIDS data set?")
    base = output.absolute().parent
    runs, problem = _try_index(scans, base)
    clinical = _look_at_tables(scans)
    cleaning = _look_at_confounds(runs, scans)
    text = _render(scans, clinical, cleaning, runs, base, design)
    write_text(output, text)
    summary = _summary(output, scans, clinical, cleaning, runs, problem)
    return summary if design is None else f"{summary}\n{design.name} needs: {design.needs}"


# --------------------------------------------------------------------------------------------- scans


@dataclass(frozen=True)
class Scans:
    """What the folders of a data set hold.

    Attributes
    ----------
    bids_dir, derivatives
        Folders; `derivatives` is None when no preprocessed images were found.
    subjects
        Labels, sorted.
    tasks, spaces, resolutions, sessions
        Values and the number of images that have them (of tasks: runs). Spaces are those of the chosen
        task, resolutions and sessions those of the chosen task and space. No resolution is ``native``.
    task
        The chosen task, or several that are rest.
    space, res
        The chosen template and, when there are several resolutions, the chosen one.
    """

    bids_dir: Path
    derivatives: Path | None
    subjects: tuple[str, ...]
    tasks: Counter[str]
    spaces: Counter[str]
    resolutions: Counter[str]
    sessions: Counter[str]
    task: tuple[str, ...]
    space: str
    res: str | None

    @property
    def name(self) -> str:
        """A name for the data set: letters and digits, a letter first."""
        name = alphanumeric(self.bids_dir.resolve().name)
        return name if name[:1].isalpha() else f"study{name}"

    @property
    def points(self) -> dict[str, str]:
        """Label of each time point → its session, in the order of the trial; empty without sessions."""
        ordered = sorted(self.sessions, key=trial_order)
        return {value if value[:1].isalpha() else f"ses{value}": value for value in ordered}

    @property
    def raw_only(self) -> bool:
        """Whether no preprocessed image was found."""
        return self.derivatives is None or not self.spaces


def trial_order(value: str) -> tuple[int, tuple[tuple[int, str], ...]]:
    """Sort key of session labels: baseline words, natural order (d2 before d10), post, follow-up."""
    word = re.split(r"[^a-z]", value.lower(), maxsplit=1)[0]
    rank = 0 if word in _EARLY else 3 if word in _LATEST else 2 if word in _LATE else 1
    parts = re.split(r"([0-9]+)", value)
    return rank, tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)


def _look_at_scans(bids_dir: Path, derivatives: Path | None) -> Scans:
    folder = derivatives or _find_derivatives(bids_dir)
    done = [] if folder is None else list(_images(folder, "preproc"))
    made = done or list(_images(bids_dir, None))
    runs = {tuple(sorted(acquisition(e).items())) for e in made}
    tasks = Counter(dict(run)["task"] for run in runs if "task" in dict(run))
    task = _choose_task(tasks)
    of_task = [e for e in made if e.get("task") in task]
    spaces = Counter(e["space"] for e in of_task if e.get("space", "T1w") not in {"T1w", "T2w", "anat"})
    space = next((s for s in SPACES if s in spaces), next(iter(sorted(spaces)), SPACES[0]))
    chosen = [e for e in of_task if e.get("space") == space] if spaces else of_task
    resolutions = Counter(e.get("res", NATIVE) for e in chosen)
    best = max(sorted(resolutions), key=lambda r: (resolutions[r], r == "2"), default=None)
    return Scans(
        bids_dir=bids_dir,
        derivatives=folder,
        subjects=tuple(sorted({*_subjects(bids_dir), *(_subjects(folder) if folder else ())})),
        tasks=tasks,
        spaces=spaces,
        resolutions=resolutions,
        sessions=Counter(e["ses"] for e in chosen if "ses" in e),
        task=task,
        space=space,
        res=best if len(resolutions) > 1 else None,
    )


def _find_derivatives(bids_dir: Path) -> Path | None:
    """The folder that fMRIPrep wrote, or the only one that holds subjects."""
    inside = bids_dir / "derivatives"
    if _subjects(inside / "fmriprep"):
        return inside / "fmriprep"
    others = [inside, *sorted(Path(entry) for entry in scan(inside) if entry.is_dir())]
    holding = [folder for folder in others if _subjects(folder)]
    named = [f for f in holding if any(name.lower() == "fmriprep" for name, _ in producers(f))]
    return next(iter(named or holding), None)


def _subjects(root: Path) -> list[str]:
    return [e.name.removeprefix("sub-") for e in scan(root) if e.name.startswith("sub-") and e.is_dir()]


def _images(root: Path, desc: str | None) -> Iterator[Mapping[str, str]]:
    """Entities of all BOLD images with a description (None: none)."""
    for label in sorted(_subjects(root)):
        subject = root / f"sub-{label}"
        sessions = sorted(Path(e) for e in scan(subject) if e.name.startswith("ses-") and e.is_dir())
        for folder in (subject, *sessions):
            for entry in scan(folder / "func"):
                name = parse(entry.name) if "_bold.nii" in entry.name else None
                if name is not None and name.suffix == "bold" and name.entities.get("desc") == desc:
                    yield name.entities


def _choose_task(tasks: Counter[str]) -> tuple[str, ...]:
    """Rest by its name, else all tasks that begin with rest, else the one with most images."""
    if "rest" in tasks or not tasks:
        return ("rest",)
    resting = tuple(sorted(task for task in tasks if task.lower().startswith("rest")))
    return resting or (max(sorted(tasks), key=lambda task: tasks[task]),)


def _try_index(scans: Scans, base: Path) -> tuple[tuple[Run, ...], str | None]:
    """Runs as the analysis will see them, or the reason why it will not start."""
    dataset = {
        "bids_dir": _relative(scans.bids_dir, base),
        "derivatives": None if scans.derivatives is None else _relative(scans.derivatives, base),
        "task": list(scans.task),
        "space": scans.space,
        "res": scans.res,
        "time_points": {"labels": {label: [value] for label, value in scans.points.items()}},
    }
    config = Config.model_validate_json(json.dumps({"datasets": {scans.name: dataset}}))
    try:
        return build_index(config, base).runs, None
    except ConnError as error:
        return (), str(error)


# --------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class Column:
    """A column of a clinical table, and what it seems to be.

    Attributes
    ----------
    name
        As it stands in the table.
    kind
        ``number``, ``category`` or ``other`` (free text, empty).
    cells
        Subject and session (empty in a wide table) → text, missing ones left out.
    codes
        Texts in it that seem to mean missing.
    """

    name: str
    kind: str
    cells: Mapping[tuple[str, str], str]
    codes: tuple[str, ...] = ()

    @property
    def levels(self) -> Counter[str]:
        """Subjects by text, the most frequent first."""
        by_person = {subject: text for (subject, _), text in self.cells.items()}
        return Counter(dict(Counter(by_person.values()).most_common()))

    @property
    def words(self) -> str:
        """What is in it, for a comment."""
        filled = len({subject for subject, _ in self.cells})
        if self.kind == "category":
            return ", ".join(f"{_shown(level)} {n}" for level, n in self.levels.items())
        if self.kind == "number":
            numbers = [float(text) for text in self.cells.values()]
            return f"{min(numbers):g} to {max(numbers):g}, {filled} subjects"
        return f"{len(set(self.cells.values()))} different texts, {filled} subjects"


@dataclass(frozen=True)
class Table:
    """A clinical table that can be read."""

    path: str
    id_column: str
    session_column: str | None
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Score:
    """A clinical score: columns by time point (wide), or one column (long)."""

    name: str
    columns: Mapping[str, str]
    column: str | None
    people: Mapping[str, frozenset[str]]
    """Time point → subjects who have a score."""

    def pairs(self, before: str | None, after: str | None) -> int:
        """Subjects with a score at both time points."""
        return len(self.people.get(before or "", frozenset()) & self.people.get(after or "", frozenset()))


@dataclass(frozen=True)
class Found:
    """What the clinical tables offer."""

    tables: tuple[Table, ...] = ()
    scores: tuple[Score, ...] = ()
    variables: Mapping[str, Column] = field(default_factory=dict)
    others: Mapping[str, Column] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    baseline: str | None = None
    endpoint: str | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """Texts that seem to mean missing in any column that is used."""
        used = {name for score in self.scores for name in (*score.columns.values(), score.column)}
        used |= {column.name for column in self.variables.values()}
        return tuple(
            sorted({code for t in self.tables for c in t.columns if c.name in used for code in c.codes})
        )

    @property
    def grouping(self) -> tuple[str, Column] | None:
        """The variable that tells arms or groups apart: an arm rather than a diagnosis."""
        for pattern in (_ARM, _GROUP):
            for name, column in self.variables.items():
                if pattern.match(column.name) and len(column.levels) > 1:
                    return name, column
        return None


def _look_at_tables(scans: Scans) -> Found:
    tables, skipped = [], []
    for path, files in _table_files(scans).items():
        try:
            tables.append(_read_table(path, files, scans))
        except InputError as error:
            skipped.append(str(error).replace(f"{scans.bids_dir}{os.sep}", ""))
    points = scans.points
    baseline, endpoint = _ends(scans)
    taken: set[str] = {name.lower() for name in (*FIRST_COLUMNS, "response", "remission")}
    scores = tuple(
        score
        for table in tables
        for score in (_long_scores if table.session_column else _wide_scores)(table, points, taken)
    )
    used = {name for score in scores for name in (*score.columns.values(), score.column)}
    variables: dict[str, Column] = {}
    others: dict[str, Column] = {}
    for table in tables:
        for column in table.columns:
            if column.name not in used:
                wanted = _is_variable(column)
                (variables if wanted else others)[_free_name(column.name, taken)] = column
    return Found(tuple(tables), scores, variables, others, tuple(skipped), baseline, endpoint)


def _ends(scans: Scans) -> tuple[str | None, str | None]:
    """The first time point, and of the others the one with most images."""
    points = scans.points
    if len(points) < 2:
        return next(iter(points), None), None
    baseline, *later = points
    return baseline, max(later, key=lambda label: scans.sessions[points[label]])


def _table_files(scans: Scans) -> dict[str, list[tuple[Path, str | None]]]:
    """Tables as the configuration names them, with their files and the subject each belongs to."""
    root = scans.bids_dir
    found: dict[str, list[tuple[Path, str | None]]] = {}
    if (root / "participants.tsv").is_file():
        found["participants.tsv"] = [(root / "participants.tsv", None)]
    for name in sorted(entry.name for entry in scan(root / "phenotype")):
        if name.endswith(".tsv") and not name.startswith("."):
            found[f"phenotype/{name}"] = [(root / "phenotype" / name, None)]
    template = "sub-{subject}/sub-{subject}_sessions.tsv"
    own = [(root / template.replace("{subject}", label), label) for label in scans.subjects]
    there: list[tuple[Path, str | None]] = [(path, label) for path, label in own if path.is_file()]
    return found | ({template: there} if there else {})


def _read_table(path: str, files: Sequence[tuple[Path, str | None]], scans: Scans) -> Table:
    frames = []
    for file, owner in files:
        frame = read_tsv(file)
        if owner is not None and "participant_id" not in frame.columns:
            frame.insert(0, "participant_id", owner)
        frames.append(frame)
    frame = pd.concat(frames, ignore_index=True).fillna(MISSING)
    id_column = _id_column(path, frame, scans)
    session_column = _session_column(frame, id_column)
    people = [bare_label(text) for text in frame[id_column]]
    sessions = [""] * len(frame)
    if session_column is not None:
        sessions = [bare_label(text, "ses") for text in frame[session_column]]
    places = list(zip(people, sessions, strict=True))
    twice = [place for place, n in Counter(places).items() if n > 1 and place[1] != MISSING]
    if twice:
        who = f"sub-{twice[0][0]}" + (f" ses-{twice[0][1]}" if twice[0][1] else "")
        raise InputError(f"{path}: {who} has several rows, and no session_id column tells them apart")
    names = [str(n) for n in frame.columns if n not in {id_column, session_column} and str(n)]
    columns = tuple(
        _column(name, dict(zip(places, frame[name].tolist(), strict=True)))
        for name in names
        if not re.search(r"(^|_)(date|acq_time|dob|birth)", name, re.IGNORECASE)
    )
    return Table(path, id_column, session_column, columns)


def _id_column(path: str, frame: pd.DataFrame, scans: Scans) -> str:
    """`participant_id`, or the column that holds most labels of the subjects in the folder."""
    if "participant_id" in frame.columns:
        return "participant_id"
    shared = {
        str(name): len({bare_label(str(text)) for text in frame[name]} & set(scans.subjects))
        for name in frame.columns
    }
    best = max(shared, key=lambda name: shared[name], default="")
    if not shared.get(best):
        raise InputError(f"{path}: no column participant_id, and none that holds subject labels")
    return best


def _session_column(frame: pd.DataFrame, id_column: str) -> str | None:
    """`session_id`, or a column of that meaning when people have several rows."""
    if "session_id" in frame.columns:
        return "session_id"
    if not frame[id_column].duplicated().any():
        return None
    names = [str(n) for n in frame.columns if re.fullmatch(r"ses|session|visit|time_?point", str(n), re.I)]
    return names[0] if names else None


def _column(name: str, cells: Mapping[tuple[str, str], str]) -> Column:
    values = {place: text for place, text in cells.items() if text != MISSING and place[1] != MISSING}
    codes = tuple(sorted({text for text in values.values() if text in MISSING_WORDS}))
    known = {place: text for place, text in values.items() if text not in MISSING_WORDS}
    numeric = bool(known) and all(_NUMERAL.fullmatch(text) for text in known.values())
    if numeric and not (_names_category(name) and len(set(known.values())) <= MOST_LEVELS):
        return Column(name, "number", known, codes)
    # A category's own "NA" may be a name, and an empty cell is an error that the user should see.
    changing = len({(s, t) for (s, _), t in values.items()}) > len({s for s, _ in values})
    few = 0 < len(set(values.values())) <= MOST_LEVELS and "" not in values.values()
    return Column(name, "category" if few and not changing else "other", values)


def _names_category(name: str) -> bool:
    return any(pattern.match(name) for pattern in (_ARM, _GROUP, _CATEGORY))


def _is_variable(column: Column) -> bool:
    if column.kind == "category":
        return _names_category(column.name)
    return column.kind == "number" and bool(_NUMBER.match(column.name))


def _wide_scores(table: Table, points: Mapping[str, str], taken: set[str]) -> Iterator[Score]:
    """Columns such as ``MADRS_ses-pre`` and ``MADRS_ses-post``, taken together."""
    grouped: dict[str, dict[str, Column]] = {}
    for column in table.columns:
        split = _split(column.name, points)
        if split is not None and column.kind == "number":
            grouped.setdefault(split[0], {})[split[1]] = column
    for name, columns in grouped.items():
        if not set(columns) & set(points):
            continue
        ordered = sorted(columns, key=trial_order)
        people = {p: frozenset(subject for subject, _ in columns[p].cells) for p in ordered}
        yield Score(_scale_name(name, taken), {p: columns[p].name for p in ordered}, None, people)


def _split(name: str, points: Mapping[str, str]) -> tuple[str, str] | None:
    """Scale and time point in the name of a column."""
    labels = {spelling.lower(): label for label, value in points.items() for spelling in (label, value)}
    explicit = re.fullmatch(r"(.+?)[_ .-]+ses-?([A-Za-z0-9]+)", name, re.IGNORECASE)
    if explicit:
        value = explicit[2]
        return explicit[1], labels.get(value.lower(), value if value[0].isalpha() else f"ses{value}")
    for label in sorted(labels, key=len, reverse=True):
        word = re.escape(label)
        behind = re.fullmatch(rf"(.+?)[_ .-]+{word}", name, re.IGNORECASE)
        before = re.fullmatch(rf"{word}[_ .-]+(.+)", name, re.IGNORECASE)
        found = behind or before
        if found:
            return found[1], labels[label]
    return None


def _long_scores(table: Table, points: Mapping[str, str], taken: set[str]) -> Iterator[Score]:
    """Columns of numbers in a table with sessions, where any session is a time point."""
    labels = {value: label for label, value in points.items()}
    for column in table.columns:
        people: dict[str, set[str]] = {}
        for subject, session in column.cells:
            if session in labels:
                people.setdefault(labels[session], set()).add(subject)
        if column.kind == "number" and people and not _NUMBER.match(column.name):
            found = {point: frozenset(people[point]) for point in points if point in people}
            yield Score(_scale_name(column.name, taken), {}, column.name, found)


def _scale_name(text: str, taken: set[str]) -> str:
    """A free name; the columns that the cohort table derives from it are taken, too."""
    name = _free_name(text, taken)
    taken |= {f"{name}_change".lower(), f"{name}_percent_change".lower()}
    return name


def _free_name(text: str, taken: set[str]) -> str:
    """A name of letters, digits and underscores that nothing else in the cohort table has."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "column"
    name = name if name[0].isalpha() else f"x{name}"
    name = f"{name}_recorded" if name.lower() in {"response", "remission", *FIRST_COLUMNS} else name
    number, free = 2, name
    while free.lower() in taken:
        free, number = f"{name}_{number}", number + 1
    taken.add(free.lower())
    return free


# --------------------------------------------------------------------------------------------- cleaning


@dataclass(frozen=True)
class Cleaning:
    """Degrees of freedom that strategies leave, and the proposal.

    Attributes
    ----------
    runs
        Number of runs looked at; 0 when no confounds table could be read.
    rows
        (strategy, with upper limit of the band, median k, share of runs above the floors).
    strategy, low_pass
        The proposal, or the defaults.
    enough
        Whether the proposal keeps nearly all runs.
    """

    runs: int
    rows: tuple[tuple[str, bool, float, float], ...]
    strategy: str
    low_pass: bool
    enough: bool


def _look_at_confounds(runs: Sequence[Run], scans: Scans) -> Cleaning:
    """Read the confounds of a few runs, evenly taken, and count what each strategy would leave."""
    usable = [run for run in runs if run.exclusion is None]
    picked = [
        usable[i] for i in np.unique(np.linspace(0, len(usable) - 1, LOOKED_AT).astype(int))[: len(usable)]
    ]
    roots = tuple(folder for folder in (scans.derivatives, scans.bids_dir) if folder is not None)
    default = Denoise()
    kept: dict[tuple[str, bool], list[tuple[int, bool]]] = {}
    looked = 0
    for run in picked:
        try:
            found = _left(run, roots, default)
        except InputError:
            continue
        looked += 1
        for choice, value in found.items():
            kept.setdefault(choice, []).append(value)
    rows = [
        (strategy, band, float(np.median([k for k, _ in values])), sum(good for _, good in values) / looked)
        for (strategy, band), values in kept.items()
        if strategy in PREFERRED
    ]
    ranked = sorted(rows, key=lambda row: (not row[1], row[0] != default.strategy, PREFERRED.index(row[0])))
    best = next((row for row in ranked if row[3] >= WANTED_SHARE), None)
    if best is None:
        return Cleaning(looked, tuple(ranked), default.strategy, True, False)
    return Cleaning(looked, tuple(ranked), best[0], best[1], True)


def _left(run: Run, roots: tuple[Path, ...], default: Denoise) -> dict[tuple[str, bool], tuple[int, bool]]:
    """Degrees of freedom of a run by strategy and band, and whether they reach the floors."""
    assert run.bold is not None and run.confounds is not None
    header = images.read_header(run.bold)
    tr = repetition_time(header, sidecar(run.bold, roots), None)
    table = confounds.read_confounds(run.confounds)
    confounds.check_rows(table, header.volumes)
    found = {}
    for strategy in confounds.runnable(table):
        chosen = confounds.select(table, strategy)
        seconds = float((~chosen.censored).sum()) * tr
        for band in (True, False):
            low_pass = default.low_pass if band else None
            k = projection.retained_df(chosen.regressors, chosen.censored, tr, default.high_pass, low_pass)
            found[strategy, band] = k, k >= default.min_df and seconds >= default.min_seconds
    return found


# --------------------------------------------------------------------------------------------- the file


def _render(
    scans: Scans,
    clinical: Found,
    cleaning: Cleaning,
    runs: Sequence[Run],
    base: Path,
    design: Preset | None,
) -> str:
    parts = [
        [
            "# Written by `conn init`: what was found, and guesses to correct. Next: conn check FILE",
            "# Lines that begin with # and a letter are suggestions; take the # away to use them.",
            "# Paths are relative to this file. `conn rois list` shows the regions.",
            "out: results",
            "seed: 0",
        ],
        _dataset_lines(scans, base),
        _clinical_lines(clinical),
        *([] if design is not None and "\nrois:" in design.text else [_region_lines(scans)]),
        _denoise_lines(cleaning),
        *_analysis_parts(scans, clinical, runs, design),
        [
            "report:",
            f"  title: {_text(f'Connectivity in {scans.name}')}",
            "  anonymise: false  # true replaces subject labels by numbers",
        ],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _analysis_parts(
    scans: Scans, clinical: Found, runs: Sequence[Run], design: Preset | None
) -> list[list[str]]:
    """Seeds, models and tests: those of a design, or a guess."""
    if design is not None:
        return [[f"# Design: {design.name}. {LOCK_IT.removeprefix('# ')}", design.text.rstrip()]]
    tests = ["inference:", "  permutations: 5000", "  alpha: 0.05"]
    return [_connectivity_lines(), _model_lines(scans, clinical, runs), tests]


def _dataset_lines(scans: Scans, base: Path) -> list[str]:
    lines = ["datasets:", f"  {scans.name}:", f"    bids_dir: {_text(_relative(scans.bids_dir, base))}"]
    if scans.derivatives is not None:
        made_by = " ".join(w for pair in producers(scans.derivatives) for w in pair if w != MISSING)
        made = f"  # {_shown(made_by)}" if made_by else ""
        lines.append(f"    derivatives: {_text(_relative(scans.derivatives, base))}{made}")
    else:
        lines.append("    #derivatives: path/to/fmriprep")
    task = _list(scans.task) if len(scans.task) > 1 else _text(scans.task[0])
    lines += [
        f"    task: {task}  # runs: {_counts(scans.tasks)}",
        f"    space: {scans.space}  # images: {_counts(scans.spaces)}",
    ]
    if scans.res is not None:
        lines.append(f"    res: {_text(scans.res)}  # images: {_counts(scans.resolutions)}")
    lines.append("    # To use only some people: `subjects: ['01', '02']`, labels in quotes, without sub-.")
    if scans.points:
        lines += [
            "    time_points:",
            "      by: ses",
            "      labels:  # in the order of the trial: correct it",
        ]
        lines += [
            f"        {label}: [{_text(value)}]  # {scans.sessions[value]} images"
            for label, value in scans.points.items()
        ]
    else:
        lines.append("    # No sessions: every person has one time point, called all.")
    return lines


def _clinical_lines(clinical: Found) -> list[str]:
    lines = ["clinical:"]
    if clinical.tables:
        lines += ["  tables:", *(line for table in clinical.tables for line in _table_lines(table))]
    else:
        lines += ["  tables: []  # no participants.tsv, phenotype/*.tsv or *_sessions.tsv that can be used"]
    lines += [f"  # left out: {_shown(reason, 160)}" for reason in clinical.skipped]
    codes = _list(clinical.codes)
    lines.append(f"  missing_codes: {codes}  # beside n/a, in all columns")
    if clinical.endpoint is not None:
        lines += [
            f"  baseline: {clinical.baseline}",
            f"  endpoint: {clinical.endpoint}  # response is judged here",
        ]
    return [*lines, *_scale_lines(clinical), *_rule_lines(clinical), *_variable_lines(clinical)]


def _table_lines(table: Table) -> Iterator[str]:
    yield f"    - path: {_text(table.path)}"
    if table.id_column != "participant_id":
        yield f"      id_column: {_text(table.id_column)}"
    if table.session_column not in (None, "session_id"):
        yield f"      session_column: {_text(str(table.session_column))}"


def _scale_lines(clinical: Found) -> Iterator[str]:
    if not clinical.scores:
        yield "  # No column that looks like a score with several time points."
        return
    yield "  # Check the direction of each scale: lower_is_better is the default."
    yield "  scales:"
    for score in clinical.scores:
        people = ", ".join(f"{p} {len(subjects)}" for p, subjects in score.people.items())
        yield f"    {score.name}:  # people with a score: {people}"
        if score.column is not None:
            yield f"      column: {_text(score.column)}"
        else:
            columns = ", ".join(f"{point}: {_text(name)}" for point, name in score.columns.items())
            yield f"      columns: {{{columns}}}"
        yield "      #direction: higher_is_better"


def _rule_lines(clinical: Found) -> Iterator[str]:
    score = _main_score(clinical)
    pairs = 0 if score is None else score.pairs(clinical.baseline, clinical.endpoint)
    if score is not None and pairs:
        yield f"  # {pairs} people have {score.name} at {clinical.baseline} and at {clinical.endpoint}."
        yield f"  #response: {{scale: {score.name}, percent: 50}}"


def _main_score(clinical: Found) -> Score | None:
    """The symptom scale with most people at baseline and endpoint."""
    return max(
        clinical.scores,
        key=lambda s: (
            s.pairs(clinical.baseline, clinical.endpoint) > 0,
            bool(_SYMPTOMS.search(s.name)),
            s.pairs(clinical.baseline, clinical.endpoint),
        ),
        default=None,
    )


def _variable_lines(clinical: Found) -> Iterator[str]:
    if not clinical.variables and not clinical.others:
        return
    yield "  variables:" if clinical.variables else "  #variables:"
    for name, column in clinical.variables.items():
        yield f"    {name}: {_variable(column)}  # {column.words}"
    for name, column in clinical.others.items():
        if column.kind != "other":
            yield f"    #{name}: {_variable(column)}  # {column.words}"
    texts = [_shown(column.name) for column in clinical.others.values() if column.kind == "other"]
    if texts:
        yield f"    # neither number nor category of a person: {', '.join(texts)}"


def _variable(column: Column) -> str:
    kind = ", kind: category" if column.kind == "category" else ""
    return f"{{column: {_text(column.name)}{kind}}}"


def _region_lines(scans: Scans) -> list[str]:
    lines = ["rois:", "  min_coverage: 0.5  # a region with less usable data is n/a in that run"]
    if scans.spaces and not scans.space.startswith("MNI152"):
        lines.append(f"  # The registry is in MNI152 templates, not in {scans.space}: give your own regions.")
    default = Config.model_fields["rois"].default
    return [
        *lines,
        f"  #use: {_list(default.use)}",
        f"  #custom: {{mySeed: {{center: [4, 26, -10], radius_mm: 5, space: {scans.space}}}}}",
    ]


def _connectivity_lines() -> list[str]:
    seeds = Config.model_fields["connectivity"].default.seeds
    return [
        "connectivity:",
        f"  #seeds: {_list(seeds)}",
        "  fwhm_mm: 6  # smoothing of seed maps; region series are never smoothed",
    ]


def _denoise_lines(cleaning: Cleaning) -> list[str]:
    default = Denoise()
    lines = ["denoise:"]
    if cleaning.runs:
        lines.append(
            f"  # Degrees of freedom (k) of {cleaning.runs} runs looked at; kept: k >= {default.min_df} and "
            f"{default.min_seconds:g} s uncensored."
        )
        for strategy, band, k, share in cleaning.rows:
            name = f"{strategy}, {default.high_pass:g} Hz and above" + (
                f", to {default.low_pass:g} Hz" * band
            )
            lines.append(f"  #   {name}: median k {k:.0f}, {100 * share:.0f} % of runs kept")
    else:
        lines.append("  # No confounds table could be read yet; `conn check` counts degrees of freedom.")
    if cleaning.runs and not cleaning.enough:
        lines.append("  # None keeps 90 % of the runs: see `conn check`, which lists all strategies.")
    return [
        *lines,
        f"  strategy: {cleaning.strategy}",
        f"  high_pass: {default.high_pass:g}",
        f"  low_pass: {default.low_pass:g}" if cleaning.low_pass else "  low_pass: null  # high-pass only",
        f"  min_df: {default.min_df}",
        f"  min_seconds: {default.min_seconds:g}",
    ]


LOCK_IT = "# conn lock writes models and contrasts down, with a date, before there are results."


def _model_lines(scans: Scans, clinical: Found, runs: Sequence[Run]) -> list[str]:
    """An active model that fits what is there, and others as suggestions."""
    if clinical.endpoint is not None:
        active, suggested = _paired(clinical), _suggestions(clinical)
    else:
        active, suggested = _compared(scans, clinical, runs), []
    head = [LOCK_IT, "models:"] if active else ["models: {}  # seed maps, matrices and a quality report only"]
    return [*head, *active, *suggested]


def _paired(clinical: Found) -> list[str]:
    before, after = clinical.baseline, clinical.endpoint
    return [
        f"  change:  # did connectivity change within people, {after} minus {before}?",
        "    design: paired",
        f"    before: {before}",
        f"    after: {after}",
        "    contrasts:",
        "      change: {confirmatory: false}  # true only if planned before the data were seen",
    ]


def _suggestions(clinical: Found) -> list[str]:
    ends = [f"    #before: {clinical.baseline}", f"    #after: {clinical.endpoint}"]
    lines: list[str] = []
    if clinical.grouping is not None:
        name, column = clinical.grouping
        lines += [
            f"  #armbytime:  # does the change differ between groups? {column.words}",
            "    #design: group_by_time",
            *ends,
            f"    #group: {name}",
            f"    #levels: {_list(_two_levels(column))}",
        ]
    score = _main_score(clinical)
    if score is not None and score.pairs(clinical.baseline, clinical.endpoint) > 3:
        lines += [
            f"  #slope:  # does the change go with the change of {score.name}?",
            "    #design: regression",
            *ends,
            f"    #predictor: {score.name}.change",
        ]
    return lines


def _compared(scans: Scans, clinical: Found, runs: Sequence[Run]) -> list[str]:
    if clinical.grouping is None:
        return []
    name, column = clinical.grouping
    scanned = {run.subject for run in runs if run.exclusion is None} or set(scans.subjects)
    here = Counter(text for (subject, _), text in column.cells.items() if subject in scanned)
    levels = _two_levels(column)
    if min(here[level] for level in levels) < 3:
        return []
    return [
        f"  groups:  # do two groups differ? {column.words}",
        "    design: two_sample",
        f"    at: {next(iter(scans.points), ALL)}",
        f"    group: {name}",
        f"    levels: {_list(levels)}  # the first minus the second",
    ]


def _two_levels(column: Column) -> tuple[str, str]:
    """The two most frequent levels, a control condition last."""
    first, second = list(column.levels)[:2]
    return (second, first) if _CONTROL.search(first) and not _CONTROL.search(second) else (first, second)


# --------------------------------------------------------------------------------------------- words


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path.absolute(), base)).as_posix()


def _shown(text: str, most: int = 60) -> str:
    """Text of a table inside a comment: one line, nothing that YAML forbids."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def _text(text: str) -> str:
    """A text as YAML that no reader takes for anything else."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_/.-]*", text) and text.lower() not in _YAML_WORDS:
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return json.dumps(text)


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(_text(value) for value in values)}]"


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{_shown(value)} {n}" for value, n in sorted(found.items())) or "none found"


def _summary(
    output: Path,
    scans: Scans,
    clinical: Found,
    cleaning: Cleaning,
    runs: Sequence[Run],
    problem: str | None,
) -> str:
    points = ", ".join(f"{label} ({scans.sessions[v]})" for label, v in scans.points.items()) or "one"
    there = sum(run.exclusion is None for run in runs)
    lines = [
        f"{scans.name}: {len(scans.subjects)} subjects, {there} runs with images, mask and confounds; task "
        f"{' and '.join(scans.task)}, {scans.space}",
        f"time points (images): {points}",
        f"scales: {', '.join(score.name for score in clinical.scores) or 'none'}",
        f"variables: {', '.join(clinical.variables) or 'none'}",
    ]
    if cleaning.runs:
        lines.append(
            f"cleaning: {cleaning.strategy}" + (" with the band" if cleaning.low_pass else ", high-pass only")
        )
    lines += [f"left out: {reason}" for reason in clinical.skipped]
    if scans.raw_only:
        lines.append("no preprocessed images: run fMRIPrep, then set datasets derivatives in the file")
    elif problem is not None:
        lines.append(f"before it can run: {problem}")
    return "\n".join(
        [
            *lines,
            f"written: {output}",
            f"next: read it, then conn check {output}; before there are results, conn lock {output}",
        ]
    )
