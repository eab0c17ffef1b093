"""What the report reads: the output contract, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from conn import bids, lock, paths
from conn.clusters import COLUMNS
from conn.config.contrasts import SENSITIVITY, contrasts_of, split_pair
from conn.config.model import Config, Model
from conn.design import Design, DesignContrast, load_design
from conn.errors import InputError
from conn.files import read_json
from conn.report.people import Person, bare
from conn.rois.placement import SUB_VOXEL
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
ROI_NUMBERS = ("volume_mm3", "voxels_median", "tsnr_median", "grey_matter")
PAIR_NUMBERS = ("shared_mm3", "share_of_smaller", "mean_r")
CHANGE_NUMBERS = (
    "n",
    "coverage_change",
    "coverage_low",
    "coverage_high",
    "tsnr_before",
    "tsnr_change",
    "tsnr_low",
    "tsnr_high",
)
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
    "df_num",
    "p_tail",
    "g_av",
    "g_av_ci_low",
    "g_av_ci_high",
    "slope_difference",
    "p_slope_difference",
    "p_closed",
    "p_equivalence",
    "score",
    "p_score",
]
NETWORK_TEXT = ("network", "contrast", "family", "g_type")
NETWORK_COLUMNS = [
    "network",
    "contrast",
    "family",
    "n_edges",
    "n_negative",
    "n",
    "estimate",
    "se",
    "df",
    "df_num",
    "stat",
    "p",
    "p_fwe",
    "p_tail",
    "ci_low",
    "ci_high",
    "ci_sim_low",
    "ci_sim_high",
    "g",
    "g_type",
    "g_ci_low",
    "g_ci_high",
    "p_holm",
    "p_equivalence",
    "g_av",
    "g_av_ci_low",
    "g_av_ci_high",
    "slope_difference",
    "p_slope_difference",
]
CLUSTER_TEXT = ("seed", "contrast", "family", "label")
CLUSTER_COLUMNS = [*COLUMNS, "p_holm"]

FAMILY_KEYS = (
    "name",
    "contrast",
    "tests",
    "permutations",
    "complete",
    "scale",
    "statistic",
    "critical",
    "skewness",
)

_MAP = re.compile(
    r"model-(?P<model>[A-Za-z0-9]+)_seed-(?P<seed>[A-Za-z0-9]+)_contrast-(?P<contrast>[A-Za-z0-9]+)"
    r"_stat-(?P<stat>[A-Za-z0-9]+)_statmap\.nii\.gz"
)
Entities = frozenset[tuple[str, str]]

NEVER_DECIDES = "reported only: it never decides"
"""Status of a carry-over test."""

CONTRAST_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "treatmentFlips": "treatment by sign flips",
        "carryover": "carry-over",
        "groupByWithin": "course by group",
        "within": "change over time",
        "moderation": "moderation of the arm",
        "differenceScore": "difference, on the score itself",
        "interactionScore": "interaction, on the score itself",
        "groupScore": "group, on the score itself",
        "adjustedScore": "adjusted, on the score itself",
        "changeScore": "change, on the score itself",
        "groupByWithinScore": "course, on the score itself",
        "outcomeScore": "outcome, on the score itself",
    }
)
"""Contrasts whose names are no words."""

SIMULATOR = "conn simulate"
"""Name under which the simulator signs its derivatives."""


@dataclass(frozen=True)
class TestedFamily:
    """A family of tests as stage correct sums it up.

    Attributes
    ----------
    name, contrast
        Its name, and the contrast that it belongs to.
    kinds
        ``maps``, ``edges``, both, or ``networks``.
    tests
        Number of tests.
    permutations
        Rearrangements, the observed order counted once.
    complete
        Whether these are all that exist.
    scale
        What is corrected: ``t``, ``F``, ``z`` or ``score``.
    statistic
        ``t``, ``F`` or ``z``.
    critical
        What a statistic must exceed on `scale`; None when none can be significant.
    skewness
        Median |skewness| of residuals; None when it could not be computed.
    """

    name: str
    contrast: str
    kinds: tuple[str, ...]
    tests: int
    permutations: int
    complete: bool
    scale: str
    statistic: str
    critical: float | None
    skewness: float | None


@dataclass(frozen=True)
class ContrastResult:
    """One contrast of a model: its design and everything found.

    Attributes
    ----------
    model, design
        Name of the model and kind of its design.
    rows
        The compiled contrast: people, runs, matrix.
    smallest_p
        Smallest attainable p.
    families
        Families of this contrast.
    edges, clusters, networks
        Rows of this contrast, numbers as floats.
    maps
        Paths of group maps by seed, then by statistic.
    several
        Whether the model has other contrasts.
    n_families
        Families of tests in the whole model, over which Holm corrects.
    state
        What the lock of the plan says of the model, see `conn.lock.state_of`.
    networks
        Declared networks, one row each; empty when the model declares none.
    compared
        Like `maps`, of F: whether the effect differs between seeds, by the name of the comparison.
    base, pair
        What the contrast is one pair of groups of, and the pair; the name itself and nothing for all others.
    repeated
        The contrast once more with motion as a covariate; None when it was not repeated.
    """

    model: str
    design: str
    rows: DesignContrast
    smallest_p: float
    families: tuple[TestedFamily, ...]
    edges: pd.DataFrame
    clusters: pd.DataFrame
    maps: dict[str, dict[str, Path]]
    several: bool
    n_families: int
    state: str = lock.NOT_LOCKED
    networks: pd.DataFrame = field(default_factory=lambda: _empty(NETWORK_COLUMNS))
    base: str = ""
    pair: tuple[str, ...] = ()
    repeated: ContrastResult | None = None
    compared: dict[str, dict[str, Path]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the contrast."""
        return self.rows.name

    @property
    def words(self) -> str:
        """What is estimated."""
        return self.rows.words

    @property
    def confirmatory(self) -> bool:
        """Marked as planned before the data were seen."""
        return self.rows.confirmatory

    @property
    def planned(self) -> bool:
        """Marked confirmatory, locked before there were results, and as it was locked."""
        return self.confirmatory and self.decides and lock.in_time(self.state)

    @property
    def decides(self) -> bool:
        """False for the carry-over of a crossover, which is reported and changes nothing."""
        return (self.design, self.base) != ("crossover", "carryover")

    @property
    def is_f(self) -> bool:
        """Several combinations are tested together: there is an F, no estimate and no direction."""
        return self.rows.statistic == "F"

    @property
    def status(self) -> str:
        """``exploratory``, or ``confirmatory`` with what the lock says."""
        if not self.decides:
            return NEVER_DECIDES
        return lock.label(self.state, confirmatory=self.confirmatory)

    @property
    def people(self) -> tuple[Person, ...]:
        """One person per row."""
        return self.rows.subjects

    @cached_property
    def run_weights(self) -> tuple[dict[str, float], ...]:
        """Every run that a row takes something from, with a weight that says how runs share a time point.

        The baseline of each voxel or edge, and all values of a row, count too.
        """
        sets = [self.rows.run_weights, self.rows.covariate_weights, *self.rows.more_weights]
        filled = [weights for weights in sets if weights]
        rows = zip(*filled, strict=True)
        return tuple({k: w for part in reversed(parts) for k, w in part.items()} for parts in rows)

    @property
    def n(self) -> int:
        """Rows of the design, which are people."""
        return self.rows.n

    @property
    def title(self) -> str:
        """The model's name, with the contrast's when the model has several."""
        return f"{self.model}: {self.shown}" if self.several else self.model

    @property
    def shown(self) -> str:
        """The contrast's name as readers see it."""
        base = CONTRAST_WORDS.get(self.base or self.name, self.base or self.name).replace("_", " ")
        return f"{base}, {' vs '.join(self.pair)}" if self.pair else base

    @cached_property
    def mapped(self) -> tuple[str, ...]:
        """Seeds whose map has a p in some voxel; one person without the seed empties its map."""
        return tuple(seed for seed, files in self.maps.items() if _any_finite(files["pfwe"]))

    def family(self, kind: str) -> TestedFamily:
        """The family that ``edges``, ``maps`` or ``networks`` of this contrast belong to.

        Raises
        ------
        InputError
            There are results of this kind, but no family of them.
        """
        for family in self.families:
            if kind in family.kinds:
                return family
        raise InputError(
            f"{paths.families(self.model)}: no family holds the {kind} of contrast {self.name!r}; run the "
            "workflow again"
        )


@dataclass(frozen=True)
class ModelResult:
    """A model and its contrasts."""

    name: str
    design: str
    contrasts: tuple[ContrastResult, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outputs:
    """The output folder as tables and paths.

    `settings` is `config` as the output folder states it: its paths are relative to that folder.
    """

    out: Path
    config: Config
    settings: Mapping[str, Any]
    runs: pd.DataFrame
    exclusions: pd.DataFrame
    cohort: pd.DataFrame
    models: tuple[ModelResult, ...]
    truth: Mapping[str, Any] | None
    problems: tuple[str, ...] = ()
    lock: Mapping[str, Any] = field(default_factory=dict)
    """The lock of the plan, see `conn.lock.record`; empty for outputs of before there was one."""

    @cached_property
    def simulated(self) -> bool:
        """A truth file was named, or the derivatives say that `conn simulate` made them."""
        return self.config.report.truth is not None or any(
            made.startswith(SIMULATOR) for made in self.made_by
        )

    @cached_property
    def made_by(self) -> tuple[str, ...]:
        """Name and version of what made the derivatives, as their own descriptions say it; may be empty."""
        own = self.out / "dataset_description.json"
        try:
            links = read_json(own)["DatasetLinks"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{own}: no DatasetLinks ({error!r}); run the workflow again") from None
        found = [_generator(self.out / folder / "dataset_description.json") for folder in links.values()]
        return tuple(dict.fromkeys(made for made in found if made))

    @cached_property
    def included(self) -> pd.DataFrame:
        """Runs that are in the analysis."""
        return self.runs[self.runs["included"]]

    @cached_property
    def losses(self) -> pd.DataFrame:
        """Exclusions without the regions of scans that are not in the analysis anyway."""
        table, kept = self.exclusions, {*self.included["run"], MISSING}
        return table[(table["roi"] == MISSING) | table["run"].isin(kept)]

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
        return self._matrices(paths.PEARSON)

    @cached_property
    def partial_matrices(self) -> dict[str, pd.DataFrame]:
        """Partial correlations (r) of included runs by run key, as `matrices`; empty when not asked for."""
        return self._matrices(paths.PARTIAL)

    def _matrices(self, stat: str) -> dict[str, pd.DataFrame]:
        keep = set(self.included["run"])
        files = self._derived(f"stat-{stat}_relmat.tsv")
        return {key: _matrix(path) for key, path in files if key in keep}

    @cached_property
    def coverage(self) -> pd.DataFrame:
        """Coverage of every ROI (rows) in every included run (columns), as a share; NaN where unknown."""
        columns = {key: _coverage(path) for key, path in self._derived("stat-coverage.tsv")}
        order = [key for key in self.included["run"] if key in columns]
        return pd.DataFrame({key: columns[key] for key in order}) if order else pd.DataFrame()

    @cached_property
    def roi_table(self) -> pd.DataFrame:
        """One row per region with medians over runs; empty for outputs of before there was one."""
        return self._optional(paths.ROIS, ROI_NUMBERS)

    @cached_property
    def roi_change(self) -> pd.DataFrame:
        """Change of coverage and signal of every region between time points; may be empty."""
        return self._optional(paths.ROI_CHANGE, CHANGE_NUMBERS)

    @cached_property
    def roi_pairs(self) -> pd.DataFrame:
        """Pairs of regions that are near each other; may be empty."""
        return self._optional(paths.ROI_PAIRS, PAIR_NUMBERS)

    def _optional(self, path: Path, numbers: Sequence[str]) -> pd.DataFrame:
        if not (self.out / path).is_file():
            return pd.DataFrame(columns=pd.Index(["roi", "after", "touching", "flag", *numbers]))
        table = _columns(read_tsv(self.out / path), numbers, self.out / path)
        return numeric(table, numbers)

    @cached_property
    def sub_voxel(self) -> list[str]:
        """Regions that are smaller than a voxel in any included run."""
        keep = set(self.included["run"])
        found: dict[str, None] = {}
        for key, path in self._derived("stat-coverage.tsv"):
            if key in keep:
                table = _columns(read_tsv(path), ["roi", "flag"], path)
                found.update(dict.fromkeys(table.loc[table["flag"].str.contains(SUB_VOXEL), "roi"]))
        return list(found)

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
            named |= set(zip(table["dataset"], table["subject"], strict=True))
        for contrast in self.contrasts():
            named |= set(contrast.people) | {(d, s) for d, s, _ in contrast.rows.dropped}
        return {(d, bare(s)) for d, s in named}

    @property
    def has_maps(self) -> bool:
        """Whether the report draws maps."""
        return any(c.maps for c in self.contrasts()) or (not self.models and bool(self.seed_maps))

    def contrasts(self) -> list[ContrastResult]:
        """Contrasts of all models, in order; repetitions with motion as a covariate are not among them."""
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
        A file is not there, or damaged.
    """
    problems: list[str] = []
    runs, settings = _runs(out / paths.RUNS), _settings(out / paths.CONFIG)
    found = _lock(out / paths.LOCK)
    states = {name: model["state"] for name, model in found.get("models", {}).items()}
    return Outputs(
        out=out,
        config=config,
        settings=settings,
        runs=runs,
        exclusions=_table(out / paths.EXCLUSIONS, EXCLUSION_COLUMNS),
        cohort=_table(out / paths.COHORT, ["dataset", "subject", "time_point", "runs"]),
        models=tuple(read_model(out, name, config, states.get(name)) for name in config.models),
        truth=_truth(out, settings["report"]["truth"], problems),
        problems=tuple(problems),
        lock=found,
    )


def _lock(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = read_json(path)
        _ = [data[key] for key in ("file", "entries", "changes", "new_options")]
        return {**data, "models": {name: dict(model) for name, model in data["models"].items()}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a record of the lock ({error!r}); run the workflow again") from None


def _settings(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError, ValueError) as error:
        raise InputError(f"{path}: not readable ({type(error).__name__}); run the workflow again") from None
    if not isinstance(data, dict) or "truth" not in (data.get("report") or {}):
        raise InputError(f"{path}: not a resolved configuration; run the workflow again")
    return data


def _runs(path: Path) -> pd.DataFrame:
    table = _table(path, RUN_COLUMNS)
    table["included"] = table["included"] == "true"
    return numeric(table, RUN_NUMBERS)


def _table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    table = _columns(read_tsv(path), columns, path)
    table["subject"] = table["subject"].map(bare)
    return table


def _columns(table: pd.DataFrame, columns: Iterable[str], path: Path) -> pd.DataFrame:
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise InputError(f"{path}: the column {lacking[0]!r} is not there; run the workflow again")
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
    table = numeric(_columns(read_tsv(path), ["roi", "coverage"], path), ["coverage"])
    return pd.Series(table["coverage"].to_numpy(), index=pd.Index(table["roi"]))


def read_model(out: Path, name: str, config: Config, state: str | None = None) -> ModelResult:
    """Read the group results of a model; one without a design has no results.

    Parameters
    ----------
    out
        The output folder.
    name
        The model.
    config
        The configuration.
    state
        What the lock of the plan says of the model; None when nothing does.

    Returns
    -------
    ModelResult

    Raises
    ------
    InputError
        A file is damaged, or the list of families is not there.
    """
    if not (out / paths.design_json(name)).is_file():
        return ModelResult(name, config.models[name].design, ())
    design = load_design(out / paths.model_folder(name), name)
    tables = _Tables(
        edges=_results(out / paths.edges(name), EDGE_COLUMNS, EDGE_TEXT),
        clusters=_results(out / paths.clusters(name), CLUSTER_COLUMNS, CLUSTER_TEXT),
        networks=_results(out / paths.networks(name), NETWORK_COLUMNS, NETWORK_TEXT),
        maps=_maps(out / paths.model_folder(name)),
        families=tuple(_families(out / paths.families(name), design)),
    )
    contrasts = _contrasts(design, config.models[name], tables, state or lock.NOT_LOCKED)
    return ModelResult(name, design.design, contrasts, design.notes)


@dataclass(frozen=True)
class _Tables:
    """Results of a model, of all its contrasts."""

    edges: pd.DataFrame
    clusters: pd.DataFrame
    networks: pd.DataFrame
    maps: dict[str, dict[str, dict[str, Path]]]
    families: tuple[TestedFamily, ...]


def _contrasts(design: Design, model: Model, tables: _Tables, state: str) -> tuple[ContrastResult, ...]:
    """Contrasts of a model, the primary one first; one that repeats another belongs to it."""
    pairs = list(zip(design.contrasts, design.smallest_p, strict=True))
    repeats = {c.name: (c, p) for c, p in pairs if c.sensitivity}
    main = [(c, p) for c, p in pairs if not c.sensitivity]
    n_families = sum(f.contrast not in repeats for f in tables.families)
    made = []
    for rows, smallest in main:
        again = repeats.get(rows.name + SENSITIVITY)
        found = _contrast(design, model, rows, smallest, tables)
        repeated = None if again is None else _contrast(design, model, *again, tables)
        several = len(main) > 1
        made.append(replace(found, several=several, n_families=n_families, state=state, repeated=repeated))
    first = contrasts_of(model)[0]
    return tuple(sorted(made, key=lambda c: (c.name != first, not c.confirmatory)))


def _contrast(
    design: Design, model: Model, rows: DesignContrast, smallest: float, tables: _Tables
) -> ContrastResult:
    found, own = tables.maps.get(rows.name, {}), "F" if rows.statistic == "F" else "t"
    base, pair = split_pair(model, rows.name.removesuffix(SENSITIVITY) if rows.sensitivity else rows.name)
    return ContrastResult(
        model=design.model,
        design=design.design,
        rows=rows,
        smallest_p=smallest,
        families=tuple(f for f in tables.families if f.contrast == rows.name),
        edges=_of(tables.edges, rows.name),
        clusters=_of(tables.clusters, rows.name),
        maps={s: f for s, f in found.items() if own in f},
        compared={s: f for s, f in found.items() if own not in f},
        several=False,
        n_families=0,
        networks=_of(tables.networks, rows.name),
        base=base,
        pair=pair,
    )


def _of(table: pd.DataFrame, contrast: str) -> pd.DataFrame:
    """Rows of one contrast."""
    return table[table["contrast"] == contrast].reset_index(drop=True)


def _families(path: Path, design: Design) -> list[TestedFamily]:
    """Families that were tested, in the order of the file."""
    kinds = {family.name: family.kinds for family in design.families}
    try:
        return [
            TestedFamily(kinds=kinds[f["name"]], **{key: f[key] for key in FAMILY_KEYS})
            for f in read_json(path)
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: no list of families ({error!r}); run the workflow again") from None


def _results(path: Path, columns: list[str], text: tuple[str, ...]) -> pd.DataFrame:
    """A table of results; empty when the model does not test this kind."""
    table = read_tsv(path) if path.is_file() else _empty(columns)
    numbers = [c for c in columns if c not in text and c != "cluster"]
    return numeric(_columns(table, columns, path), numbers)


def _empty(columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(columns=pd.Index(columns), dtype=str)


def _maps(folder: Path) -> dict[str, dict[str, dict[str, Path]]]:
    """Paths by contrast, seed and statistic."""
    found: dict[str, dict[str, dict[str, Path]]] = {}
    for path in sorted(folder.glob("*_statmap.nii.gz")):
        match = _MAP.fullmatch(path.name)
        if match:
            found.setdefault(match["contrast"], {}).setdefault(match["seed"], {})[match["stat"]] = path
    return found


def _any_finite(path: Path) -> bool:
    return bool(np.isfinite(np.asanyarray(nib.load(path).dataobj)).any())


def _truth(out: Path, name: str | None, problems: list[str]) -> Mapping[str, Any] | None:
    """The truth of a simulation."""
    if name is None:
        return None
    path = out / name
    try:
        found = read_json(path)
    except FileNotFoundError:
        problems.append(f"The truth file {path.name} was not found, so truth and estimate are not compared.")
        return None
    except (OSError, ValueError) as error:
        problems.append(f"The truth file {path.name} could not be read ({type(error).__name__}).")
        return None
    return found if isinstance(found, dict) else None


def _generator(path: Path) -> str | None:
    try:
        made_by = read_json(path).get("GeneratedBy")
        first = made_by[0] if isinstance(made_by, list) else made_by
        return " ".join(str(first[k]) for k in ("Name", "Version") if first.get(k)) or None
    except (OSError, ValueError, AttributeError, TypeError, KeyError, IndexError):
        return None
