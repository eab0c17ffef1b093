"""What the report reads: the output contract, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conn import bids, paths
from conn.config.model import CONTRASTS, Config
from conn.errors import ConnError, InputError
from conn.files import read_json
from conn.report.people import Person, bare
from conn.tables import MISSING, read_tsv

RUN_COLUMNS = [
    "run",
    "dataset",
    "subject",
    "session",
    "time_point",
    "task",
    "acq",
    "run_entity",
    "echo",
    "space",
    "res",
    "path",
    "volumes",
    "tr",
    "frames_kept",
    "seconds_kept",
    "df",
    "mean_fd",
    "included",
    "reason",
]
RUN_NUMBERS = ("volumes", "tr", "frames_kept", "seconds_kept", "df", "mean_fd")
EXCLUSION_COLUMNS = ["dataset", "subject", "session", "run", "roi", "stage", "reason", "value", "limit"]
EDGE_TEXT = ("roi_a", "roi_b", "contrast", "family", "g_type")
EDGE_COLUMNS = [
    "roi_a",
    "roi_b",
    "contrast",
    "family",
    "n",
    "estimate",
    "se",
    "df",
    "stat",
    "p",
    "p_fwe",
    "p_fdr",
    "ci_low",
    "ci_high",
    "ci_sim_low",
    "ci_sim_high",
    "g",
    "g_type",
    "g_ci_low",
    "g_ci_high",
    "p_holm",
]
CLUSTER_TEXT = ("seed", "contrast", "family", "label")
CLUSTER_COLUMNS = [
    "seed",
    "contrast",
    "family",
    "cluster",
    "peak_x",
    "peak_y",
    "peak_z",
    "voxels",
    "volume_mm3",
    "peak_stat",
    "p_fwe",
    "label",
    "p_holm",
]

_MAP = re.compile(
    r"model-(?P<model>[A-Za-z0-9]+)_seed-(?P<seed>[A-Za-z0-9]+)_contrast-(?P<contrast>[A-Za-z0-9]+)"
    r"_stat-(?P<stat>[a-z0-9]+)_statmap\.nii\.gz"
)
Entities = frozenset[tuple[str, str]]

SIMULATOR = "conn simulate"
"""Name under which the simulator signs its derivatives."""


@dataclass(frozen=True)
class ContrastResult:
    """One contrast of a model: its design and everything found.

    Attributes
    ----------
    matrix : ndarray of shape (n_rows, n_columns)
        Design matrix; empty when the design file does not hold it.
    weights : ndarray of shape (n_columns,)
        The contrast.
    people
        One person per row.
    strata : ndarray of shape (n_rows,)
    edges, clusters
        Rows of this contrast, numbers as floats.
    maps
        Paths of group maps by seed, then by statistic.
    """

    model: str
    design: str
    name: str
    words: str
    confirmatory: bool
    exchange: str
    effect_type: str
    columns: tuple[str, ...]
    matrix: np.ndarray
    weights: np.ndarray
    people: tuple[Person, ...]
    strata: np.ndarray
    variance_groups: np.ndarray
    dropped: tuple[tuple[str, str, str], ...]
    smallest_p: float | None
    families: tuple[dict[str, Any], ...]
    details: Mapping[str, Any]
    edges: pd.DataFrame
    clusters: pd.DataFrame
    maps: dict[str, dict[str, Path]]

    @property
    def n(self) -> int:
        """Rows of the design, which are people."""
        stated = self.details.get("n", self.details.get("n_rows", self.details.get("rows")))
        if self.people:
            return len(self.people)
        return stated if isinstance(stated, int) else 0

    @property
    def title(self) -> str:
        """The model's name, with the contrast's when the model has several."""
        name = self.name.replace("_", " ")
        return f"{self.model}: {name}" if self.details.get("several") else self.model

    @property
    def n_families(self) -> int:
        """Families of tests in the whole model, over which Holm corrects."""
        return int(self.details.get("n_families", 0))


@dataclass(frozen=True)
class ModelResult:
    """A model and its contrasts."""

    name: str
    design: str
    contrasts: tuple[ContrastResult, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outputs:
    """The output folder as tables and paths."""

    out: Path
    config: Config
    runs: pd.DataFrame
    exclusions: pd.DataFrame
    cohort: pd.DataFrame
    models: tuple[ModelResult, ...]
    truth: Mapping[str, Any] | None
    problems: tuple[str, ...] = ()

    @cached_property
    def simulated(self) -> bool:
        """A truth file was named, or the derivatives say that `conn simulate` made them."""
        made_by = preprocessing(self.out, self.config)
        return self.config.report.truth is not None or any(m.startswith(SIMULATOR) for m in made_by)

    @cached_property
    def included(self) -> pd.DataFrame:
        """Runs that are in the analysis."""
        return self.runs[self.runs["included"]]

    @cached_property
    def time_points(self) -> tuple[str, ...]:
        """Time points in the order of the trial, as the cohort table has them; then any others of runs."""
        named = [*self.cohort["time_point"], *self.runs["time_point"]]
        return tuple(p for p in dict.fromkeys(named) if p != MISSING)

    @cached_property
    def sources(self) -> dict[Entities, str]:
        """Run key by the source entities that every output of the run carries."""
        named = zip(self.runs["path"], self.runs["run"], strict=True)
        return {_source(Path(path).name): key for path, key in named if path != MISSING}

    def _derived(self, pattern: str) -> list[tuple[str, Path]]:
        """Files of one kind and the keys of their runs, in the order of names."""
        files = sorted(self.out.glob(f"sub-*/**/*_{pattern}"))
        pairs = [(self.sources.get(_source(path.name)), path) for path in files]
        return [(key, path) for key, path in pairs if key is not None]

    @cached_property
    def matrices(self) -> dict[str, pd.DataFrame]:
        """ROI correlation matrices (r) of included runs by run key; index and columns are ROI labels."""
        keep = set(self.included["run"])
        files = self._derived("stat-pearsoncorrelation_relmat.tsv")
        return {key: _matrix(path) for key, path in files if key in keep}

    @cached_property
    def coverage(self) -> pd.DataFrame:
        """Coverage of every ROI (rows) in every run (columns), as a share; NaN where it is not known."""
        columns = {key: _coverage(path) for key, path in self._derived("stat-coverage.tsv")}
        order = [key for key in self.runs["run"] if key in columns]
        return pd.DataFrame({key: columns[key] for key in order}) if order else pd.DataFrame()

    @cached_property
    def seed_maps(self) -> dict[str, list[Path]]:
        """First-level Fisher-z maps of included runs by seed."""
        keep = set(self.included["run"])
        found: dict[str, list[Path]] = {}
        for key, path in self._derived("stat-fisherz_statmap.nii.gz"):
            name = bids.parse(path.name)
            if key in keep and name is not None and "seed" in name.entities:
                found.setdefault(name.entities["seed"], []).append(path)
        return found

    def people(self) -> set[Person]:
        """Everybody named anywhere."""
        named: set[Person] = set()
        for table in (self.runs, self.cohort, self.exclusions):
            if {"dataset", "subject"} <= set(table.columns):
                named |= set(zip(table["dataset"], table["subject"], strict=True))
        for contrast in self.contrasts():
            named |= set(contrast.people) | {(d, s) for d, s, _ in contrast.dropped}
        return {(d, bare(s)) for d, s in named}

    def contrasts(self) -> list[ContrastResult]:
        """Contrasts of all models, in order."""
        return [c for m in self.models for c in m.contrasts]


def _source(name: str) -> Entities:
    """Entities of the run that a file belongs to: all but ``desc`` and those that our outputs add."""
    pairs = [part.partition("-") for part in name.split(".", maxsplit=1)[0].split("_")]
    own = {"desc", *bids.OWN_ORDER}
    return frozenset((key, value) for key, dash, value in pairs if dash and key not in own)


def read_outputs(out: Path, config: Config) -> Outputs:
    """Read the output folder.

    Parameters
    ----------
    out
        The output folder.
    config
        The configuration that it was made with.

    Returns
    -------
    Outputs

    Raises
    ------
    InputError
        `runs.tsv` is not there, or a table is damaged.
    """
    problems: list[str] = []
    return Outputs(
        out=out,
        config=config,
        runs=_runs(out / paths.RUNS),
        exclusions=_table(out / paths.EXCLUSIONS, EXCLUSION_COLUMNS),
        cohort=_table(out / paths.COHORT, ["dataset", "subject", "time_point", "runs"]),
        models=tuple(read_model(out / paths.model_folder(name), name, config) for name in config.models),
        truth=_truth(out, config, problems),
        problems=tuple(problems),
    )


def _runs(path: Path) -> pd.DataFrame:
    table = with_columns(read_tsv(path), RUN_COLUMNS)
    table["subject"] = table["subject"].map(bare)
    table["included"] = table["included"].str.lower() == "true"
    return numeric(table, RUN_NUMBERS)


def _table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    table = read_tsv(path) if path.is_file() else pd.DataFrame(columns=pd.Index(list(columns)), dtype=str)
    table = with_columns(table, columns)
    table["subject"] = table["subject"].map(bare)
    return table


def with_columns(table: pd.DataFrame, columns: Iterable[str], missing: Any = MISSING) -> pd.DataFrame:
    """The table with at least these columns; those it lacks hold `missing`."""
    table = table.copy()
    for name in columns:
        if name not in table.columns:
            table[name] = missing
    return table


def numeric(table: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """The table with these columns as floats, NaN for ``n/a``."""
    table = table.copy()
    for name in columns:
        table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
    return table


def _matrix(path: Path) -> pd.DataFrame:
    table = read_tsv(path)
    labels = table.iloc[:, 0].tolist()
    return numeric(table.iloc[:, 1:], table.columns[1:]).set_index(pd.Index(labels))


def _coverage(path: Path) -> pd.Series:
    table = numeric(with_columns(read_tsv(path), ["roi", "coverage"]), ["coverage"])
    return pd.Series(table["coverage"].to_numpy(), index=pd.Index(table["roi"]))


def read_model(folder: Path, name: str, config: Config) -> ModelResult:
    """Read the group results of a model; a missing file is an empty table.

    Parameters
    ----------
    folder
        ``<out>/group/<model>``.
    name
        The model.
    config
        The configuration.

    Returns
    -------
    ModelResult
    """
    stem = f"model-{name}"
    meta_path = folder / f"{stem}_design.json"
    meta = read_json(meta_path) if meta_path.is_file() else {}
    design_path = folder / f"{stem}_design.tsv"
    rows = read_tsv(design_path) if design_path.is_file() else pd.DataFrame()
    edges = _results(folder / f"{stem}_edges.tsv", EDGE_COLUMNS, EDGE_TEXT)
    clusters = _results(folder / f"{stem}_clusters.tsv", CLUSTER_COLUMNS, CLUSTER_TEXT)
    maps = _maps(folder)
    kind = str(meta.get("design", config.models[name].design))
    described = [dict(c) for c in meta.get("contrasts", [])]
    families_path = folder / f"{stem}_families.json"
    for family in read_json(families_path) if families_path.is_file() else []:
        for c in described:
            if c.get("name") == family["contrast"]:
                kept = [f for f in family_list(c.get("families")) if f.get("name") != family["name"]]
                c["families"] = [*kept, family]
    named = {c.get("name") for c in described}
    found = [c for c in dict.fromkeys([*edges["contrast"], *clusters["contrast"], *maps]) if c not in named]
    described += [{"name": c} for c in found]
    n_families = len({f for t in (edges, clusters) for f in t["family"] if f != MISSING})
    listed = {f.get("name") for c in described for f in family_list(c.get("families"))} - {None}
    for c in described:
        c.setdefault("n_families", max(n_families, len(listed)))
        c["several"] = len(described) > 1
    contrasts = [_contrast(name, kind, config, c, rows, edges, clusters, maps) for c in described]
    first = CONTRASTS.get(kind, ("",))[0]
    contrasts.sort(key=lambda c: (c.name != first, not c.confirmatory))
    return ModelResult(name, kind, tuple(contrasts), tuple(map(str, meta.get("notes", ()))))


def _results(path: Path, columns: list[str], text: tuple[str, ...]) -> pd.DataFrame:
    table = read_tsv(path) if path.is_file() else pd.DataFrame(columns=pd.Index(columns), dtype=str)
    numbers = [c for c in columns if c not in text and c != "cluster"]
    return numeric(with_columns(table, columns), numbers)


def _maps(folder: Path) -> dict[str, dict[str, dict[str, Path]]]:
    """Paths by contrast, seed and statistic."""
    found: dict[str, dict[str, dict[str, Path]]] = {}
    for path in sorted(folder.glob("*_statmap.nii.gz")):
        match = _MAP.fullmatch(path.name)
        if match:
            found.setdefault(match["contrast"], {}).setdefault(match["seed"], {})[match["stat"]] = path
    return found


def _contrast(
    model: str,
    kind: str,
    config: Config,
    meta: dict[str, Any],
    rows: pd.DataFrame,
    edges: pd.DataFrame,
    clusters: pd.DataFrame,
    maps: dict[str, dict[str, dict[str, Path]]],
) -> ContrastResult:
    name = str(meta.get("name"))
    mine = rows[rows["contrast"] == name] if "contrast" in rows.columns else rows
    columns = tuple(map(str, meta.get("columns", ())))
    planned = config.models[model].contrasts.get(name)
    return ContrastResult(
        model=model,
        design=kind,
        name=name,
        words=str(meta.get("words", name)),
        confirmatory=bool(meta.get("confirmatory", planned.confirmatory if planned else False)),
        exchange=str(meta.get("exchange", "")),
        effect_type=str(meta.get("effect_type", "")),
        columns=columns,
        matrix=_design_matrix(mine, columns),
        weights=np.asarray(meta.get("contrast", ()), float).ravel(),
        people=_people(meta, mine),
        strata=_codes(meta, mine, "strata", "stratum"),
        variance_groups=_codes(meta, mine, "variance_groups", "variance_group"),
        dropped=tuple(_dropped(d) for d in meta.get("dropped", ())),
        smallest_p=_optional_float(meta.get("smallest_p", meta.get("smallest_attainable_p"))),
        families=tuple(family_list(meta.get("families"))),
        details=meta,
        edges=edges[edges["contrast"] == name].reset_index(drop=True),
        clusters=clusters[clusters["contrast"] == name].reset_index(drop=True),
        maps=maps.get(name, {}),
    )


def family_list(families: Any) -> list[dict[str, Any]]:
    """Families as mappings with a ``name``, whether they were stored by name, as a list or as texts."""
    if isinstance(families, Mapping):
        return [{"name": n, **(f if isinstance(f, Mapping) else {"size": f})} for n, f in families.items()]
    return [dict(f) if isinstance(f, Mapping) else {"name": str(f)} for f in families or ()]


def _design_matrix(rows: pd.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    if not columns or not set(columns) <= set(rows.columns):
        return np.empty((0, 0))
    return numeric(rows, columns)[list(columns)].to_numpy(float)


def _people(meta: dict[str, Any], rows: pd.DataFrame) -> tuple[Person, ...]:
    stated = meta.get("subjects")
    if stated and all(isinstance(s, list | tuple) and len(s) == 2 for s in stated):
        return tuple((str(d), bare(str(s))) for d, s in stated)
    if {"dataset", "subject"} <= set(rows.columns):
        return tuple((d, bare(s)) for d, s in zip(rows["dataset"], rows["subject"], strict=True))
    return ()


def _codes(meta: dict[str, Any], rows: pd.DataFrame, *names: str) -> np.ndarray:
    for name in names:
        if isinstance(meta.get(name), list):
            return np.asarray(meta[name])
        if name in rows.columns:
            return rows[name].to_numpy()
    return np.zeros(len(rows), int)


def _dropped(entry: Any) -> tuple[str, str, str]:
    if isinstance(entry, Mapping):
        return tuple(str(entry.get(k, MISSING)) for k in ("dataset", "subject", "reason"))  # type: ignore[return-value]
    dataset, subject, reason = (str(part) for part in entry)
    return dataset, bare(subject), reason


def _optional_float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _truth(out: Path, config: Config, problems: list[str]) -> Mapping[str, Any] | None:
    """The truth of a simulation; its path is relative to the folder that the configuration stands in."""
    name = config.report.truth
    if name is None:
        return None
    resolved = str((resolved_config(out, config).get("report") or {}).get("truth") or name)
    for path in [*_candidates(out, resolved), *_candidates(out, name)]:
        if path.is_file():
            try:
                found = read_json(path)
            except (OSError, ValueError) as error:
                problems.append(f"The truth file {path.name} could not be read ({type(error).__name__}).")
                return None
            return found if isinstance(found, dict) else None
    problems.append(
        f"The truth file {Path(name).name} was not found, so truth and estimate are not compared."
    )
    return None


def _candidates(out: Path, name: str) -> list[Path]:
    """Where a path of the configuration may lead: it is relative to a file that stands in or above `out`."""
    path = Path(name)
    if path.is_absolute():
        return [path]
    return [base / path for base in (out, out.resolve().parent, Path())]


def resolved_config(out: Path, config: Config) -> dict[str, Any]:
    """The configuration as plain data: `<out>/config.yaml` when it is there, else `config` itself."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    path = out / paths.CONFIG
    if path.is_file():
        try:
            data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        except (OSError, YAMLError, ValueError) as error:
            raise InputError(
                f"{path}: not readable as YAML ({type(error).__name__}); run the workflow again"
            ) from None
        if isinstance(data, dict):
            return data
    return config.model_dump(mode="json")


def preprocessing(out: Path, config: Config) -> list[str]:
    """Name and version of what made the derivatives, as their own descriptions say it; may be empty."""
    datasets = resolved_config(out, config).get("datasets") or {}
    folders = [
        e.get("derivatives") or f"{e.get('bids_dir', n)}/derivatives/fmriprep" for n, e in datasets.items()
    ]
    own = out / "dataset_description.json"
    links = read_json(own).get("DatasetLinks", {}) if own.is_file() else {}
    paths_found = [
        p for f in [*folders, *links.values()] for p in _candidates(out, f"{f}/dataset_description.json")
    ]
    made = [text for path in paths_found if path.is_file() and (text := _generator(path))]
    return list(dict.fromkeys(made))


def _generator(path: Path) -> str | None:
    try:
        made_by = read_json(path).get("GeneratedBy")
        first = made_by[0] if isinstance(made_by, list) else made_by
        return " ".join(str(first[k]) for k in ("Name", "Version") if first.get(k)) or None
    except (OSError, ValueError, AttributeError, TypeError, KeyError, IndexError, ConnError):
        return None
