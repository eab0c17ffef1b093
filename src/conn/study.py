"""A study as the workflow sees it: configuration, index, and what each rule needs of them.

Paths that rules receive are relative to the output folder, where the workflow runs, so that a study can be
moved as a whole without being computed again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from conn import confounds, lock, paths
from conn.bids import sidecar
from conn.cohort import natural
from conn.config import Config, load
from conn.config.checks import check
from conn.config.load import dump
from conn.config.model import ClinicalTable, Rois
from conn.config.pairs import predicting_edges, replicated_features
from conn.errors import ConfigError, InputError, ResourceError
from conn.files import digest, read_json, write_json
from conn.index import Index, Run, build_index, dataset_roots, run_to_record
from conn.lock import Lock, Plan
from conn.outcomes import needs_of
from conn.plan import plans_of
from conn.rois import binding, networks, registry, selection, sources
from conn.stages.collect import index_to_record
from conn.stages.left_out import Analyses, Replicated, to_record
from conn.table_content import content
from conn.tissues import find_tissues

INDEX = paths.CACHE / "index.json"
USED_TISSUES = ("GM", "CSF")
"""Tissue maps that stage measure reads."""


def plain(section: BaseModel) -> dict[str, Any]:
    """A section of the configuration as JSON-ready values."""
    return section.model_dump(mode="json")


@dataclass(frozen=True)
class Study:
    """A configuration file and everything that follows from it without computing."""

    config_path: Path
    config: Config

    @cached_property
    def root(self) -> Path:
        """Folder that paths of the configuration are relative to, without links on the way."""
        return self.config_path.parent.resolve()

    @cached_property
    def out(self) -> Path:
        """Output folder, without links on the way: the workflow runs in it, and ``..`` must lead back."""
        return (self.root / self.config.out).resolve()

    @cached_property
    def index(self) -> Index:
        """All runs, with paths relative to the output folder."""
        found = build_index(self.config, self.root)
        _refuse_one_name_twice(found.runs)
        return Index(tuple(self._moved(run) for run in found.runs), found.exclusions, found.notes)

    def _moved(self, run: Run) -> Run:
        def moved(path: Path | None) -> Path | None:
            return None if path is None else self.relative(path)

        return replace(run, bold=moved(run.bold), mask=moved(run.mask), confounds=moved(run.confounds))

    def relative(self, path: Path) -> Path:
        """A path as seen from the output folder."""
        return Path(os.path.relpath(path, self.out))

    def absolute(self, path: str | Path) -> Path:
        """A path as seen from the output folder, from anywhere; the output folder need not be there yet."""
        return Path(os.path.normpath(self.out / path))

    @cached_property
    def runs(self) -> dict[str, Run]:
        """Runs that can be tried, by key."""
        return {run.key: run for run in self.index.runs if run.exclusion is None}

    def inputs(self, key: str) -> list[str]:
        """Input files of a run, as seen from the output folder; metadata of confounds when they decide."""
        run = self.runs[key]
        files = [path for path in (run.bold, run.mask, run.confounds) if path is not None]
        if run.confounds is not None and confounds.takes_components(self.config.denoise.strategy):
            metadata = confounds.metadata_file(run.confounds)
            files += [metadata] if self.absolute(metadata).is_file() else []
        return [str(path) for path in files]

    def seen(self, files: Iterable[str]) -> list[tuple[str, int, int]]:
        """Name, size and time of change (ns) of input files, so that any change makes their rule run again.

        Snakemake by itself only notices files that are newer than its results: a corrected file that was put
        back with an older date would be passed over. Rules must not ask for this through their `input`:
        Snakemake does not record parameters that depend on it.
        """
        found = []
        for name in files:
            try:
                state = self.absolute(name).stat()
            except OSError:
                continue
            found.append((Path(name).name, state.st_size, state.st_mtime_ns))
        return found

    def record(self, key: str) -> dict[str, Any]:
        """A run as JSON-ready values; its time point is not the first level's business."""
        return run_to_record(replace(self.runs[key], time_point=None))

    def sidecar_tr(self, key: str) -> float | None:
        """Repetition time in the sidecars of a run, so that a corrected one makes its run again."""
        bold = self.runs[key].bold
        roots = tuple(map(self.absolute, self.run_settings(key)["roots"]))
        try:
            return None if bold is None else sidecar(self.absolute(bold), roots).get("RepetitionTime")
        except InputError:
            return None

    def run_settings(self, key: str) -> dict[str, Any]:
        """What stage project needs of a run's data set."""
        return dict(self._dataset_settings[self.runs[key].dataset])

    @cached_property
    def _dataset_settings(self) -> dict[str, dict[str, Any]]:
        settings = {}
        for name, dataset in self.config.datasets.items():
            raw, derivatives = dataset_roots(dataset, self.root)
            settings[name] = {
                "dummy_scans": dataset.dummy_scans,
                "repetition_time": dataset.repetition_time,
                "roots": [str(self.relative(derivatives)), str(self.relative(raw))],
            }
        return settings

    def source(self, key: str) -> str:
        """`bids:` URI of a run's image."""
        run = self.runs[key]
        return f"bids:{run.dataset}:{run.path}"

    @property
    def map_fwhm(self) -> float:
        """Smoothing of maps in mm; 0 when no map is asked for."""
        return self.config.connectivity.fwhm_mm if self.maps else 0.0

    @property
    def smooth_within_mask(self) -> bool:
        """Whether maps are smoothed within the brain mask alone; False when nothing is smoothed."""
        return self.config.connectivity.smooth_within_mask and self.map_fwhm > 0

    @cached_property
    def measures(self) -> dict[str, Any]:
        """What stage measure needs of `connectivity`; combined runs and networks are the models' business."""
        section = plain(self.config.connectivity)
        return {key: value for key, value in section.items() if key not in {"combine_runs", "networks"}}

    @cached_property
    def folder(self) -> str:
        """Folder of the configuration, as seen from the output folder."""
        return str(self.relative(self.root))

    @cached_property
    def images(self) -> dict[str, tuple[str, ...]]:
        """Files that define each of the user's own regions, as seen from the output folder."""
        found: dict[str, tuple[str, ...]] = {}
        for roi in registry.regions(self.config.rois):
            if roi.image is not None:
                found[roi.label] = (self._image(roi.image.path),)
        return found

    def _image(self, text: str) -> str:
        return str(self.relative(sources.locate(text, self.root)))

    @cached_property
    def transforms(self) -> tuple[str, ...]:
        """Files of the transforms between templates, as seen from the output folder."""
        return tuple(str(self.relative(self.root / one.file)) for one in self.config.rois.transforms)

    @cached_property
    def roi_images(self) -> list[str]:
        """All files that regions are placed with, as seen from the output folder."""
        files = [file for several in self.images.values() for file in several]
        return list(dict.fromkeys([*files, *self.transforms]))

    def tissues(self, key: str) -> dict[str, str]:
        """Tissue maps of a run, as seen from the output folder."""
        run = self.runs[key]
        derivatives = self.absolute(self.run_settings(key)["roots"][0])
        found = find_tissues(run, derivatives)
        return {name: str(self.relative(path)) for name, path in found.items() if name in USED_TISSUES}

    @property
    def links(self) -> dict[str, str]:
        """Derivatives of each data set, as seen from the output folder."""
        return {
            name: self.relative(dataset_roots(dataset, self.root)[1]).as_posix()
            for name, dataset in self.config.datasets.items()
        }

    @property
    def bids_dirs(self) -> dict[str, str]:
        """Folder of each data set, as seen from the output folder."""
        return {
            name: str(self.relative(dataset_roots(dataset, self.root)[0]))
            for name, dataset in self.config.datasets.items()
        }

    @property
    def truth(self) -> list[str]:
        """File of planted effects, as seen from the output folder; empty when there is none."""
        truth = self.config.report.truth
        return [] if truth is None else [str(self.relative(self.root / truth))]

    @property
    def time_points(self) -> dict[str, dict[str, list[str]]]:
        """Labels of the time points and the values that belong to them, per data set.

        Without configured labels each session is a time point of its own: baseline first, the others in the
        order of their labels.
        """
        points: dict[str, dict[str, list[str]]] = {}
        for name, dataset in self.config.datasets.items():
            labels = dataset.time_points.labels
            points[name] = {label: list(values) for label, values in labels.items()}
            if not labels and dataset.time_points.by == "ses":
                points[name] = self._sessions(name)
        return points

    def _sessions(self, dataset: str) -> dict[str, list[str]]:
        pairs = {
            (run.time_point, run.session)
            for run in self.index.runs
            if run.dataset == dataset and run.time_point is not None and run.session is not None
        }
        first = self.config.clinical.baseline
        ordered = sorted(pairs, key=lambda pair: (pair[0] != first, natural(pair[0])))
        return {point: [session] for point, session in ordered}

    @property
    def subjects(self) -> dict[str, dict[str, list[str]]]:
        """Subjects found, and the only ones to keep (empty: all), per data set."""
        return {
            name: {
                "found": sorted({run.subject for run in self.index.runs if run.dataset == name}),
                "only": list(dataset.subjects),
            }
            for name, dataset in self.config.datasets.items()
        }

    @property
    def clinical_tables(self) -> list[str]:
        """Clinical tables that are there, as seen from the output folder."""
        tables = []
        for name, dataset in self.config.datasets.items():
            folder = dataset_roots(dataset, self.root)[0]
            for table in self.config.clinical.tables:
                for subject in self.subjects[name]["found"] if "{subject}" in table.path else [""]:
                    path = folder / table.path.replace("{subject}", subject)
                    tables += [str(self.relative(path))] if path.is_file() else []
        return tables

    @cached_property
    def maps(self) -> dict[str, selection.Seed]:
        """All seeds of the study by the label of their map."""
        asked = self.config.connectivity
        return selection.seeds(asked.seeds, asked.together, registry.own_labels(self.config.rois))

    def seeds(self, model: str) -> tuple[str, ...]:
        """Labels of the maps that a model tests."""
        asked = self.config.models[model].seeds
        if asked == "all":
            return tuple(self.maps)
        known = (*registry.own_labels(self.config.rois), *self.maps)
        return () if asked == "none" else registry.expand(asked, known, f"models.{model}.seeds")

    def seed_regions(self, seed: str) -> list[str]:
        """Regions behind a map: the seed's own, then those that were entered with it."""
        return list(self.maps[seed].regions)

    @cached_property
    def reference_files(self) -> list[str]:
        """Images and tables of the reference atlases, as seen from the output folder."""
        found = []
        for atlas in self.config.rois.reference.values():
            found.append(self._image(atlas.image))
            found += [] if atlas.table is None else [self._image(atlas.table)]
        return found

    def seed_images(self, seed: str) -> list[str]:
        """Files that the regions behind a map are placed with."""
        own = [file for region in self.seed_regions(seed) for file in self.images.get(region, ())]
        return list(dict.fromkeys([*own, *self.transforms]))

    def edges(self, model: str) -> str | list[list[str]]:
        """Pairs of regions that a model tests, those of a network spelled out; ``all`` or ``none``."""
        return self.pairs(self.config.models[model].edges)

    def pairs(self, asked: str | Sequence[tuple[str, str]]) -> str | list[list[str]]:
        """Pairs of regions that are asked for, those of a network spelled out; ``all`` or ``none``."""
        if asked in {"all", "none"}:
            return str(asked)
        if not isinstance(asked, str):
            return [list(pair) for pair in asked]
        return [[a, b] for a, b, _ in networks.declared(asked, self.config.connectivity.networks)]

    def tests(self, model: str) -> tuple[str, ...]:
        """What a model tests: ``seed-LABEL``, ``factor-NAME`` (compared maps), ``edges``, ``networks``."""
        maps = tuple(f"seed-{seed}" for seed in self.seeds(model))
        edges = () if self.config.models[model].edges == "none" else ("edges",)
        factors = tuple(f"factor-{name}" for name in self.config.models[model].seed_factors)
        return (*maps, *factors, *edges, *(("networks",) if self.networks(model) else ()))

    def factor(self, model: str, name: str) -> dict[str, list[str]]:
        """Maps that a model compares, with the regions behind each."""
        labels = self.config.models[model].seed_factors[name]
        return {label: self.seed_regions(label) for label in labels}

    def factor_images(self, model: str, name: str) -> list[str]:
        """Files that the regions behind the maps of a comparison are placed with."""
        files = [file for label in self.factor(model, name) for file in self.seed_images(label)]
        return list(dict.fromkeys(files))

    def networks(self, model: str) -> dict[str, list[list[str | int]]]:
        """Edges of the networks that a model tests by their mean, with their signs."""
        return self.spelled(self.config.models[model].declared_networks)

    def spelled(self, names: Iterable[str]) -> dict[str, list[list[str | int]]]:
        """Edges of some networks, with their signs."""
        own = self.config.connectivity.networks
        return {name: [list(edge) for edge in networks.declared(name, own)] for name in names}

    def mediators(self, name: str) -> dict[str, Any]:
        """What a mediation analysis asks of connectivity: edges, edges of networks, regions behind maps."""
        asked, declared = self.config.mediation[name], self.config.connectivity.networks
        edges: Any = asked.edges
        if isinstance(edges, str) and edges not in ("all", "none"):
            edges = [(a, b) for a, b, _ in networks.declared(edges, declared)]
        own = (*registry.own_labels(self.config.rois), *self.maps)
        labels: tuple[str, ...] = tuple(self.maps) if asked.seeds == "all" else ()
        if not isinstance(asked.seeds, str):
            labels = registry.expand(asked.seeds, own, f"mediation.{name}.seeds")
        return {
            "edges": edges if isinstance(edges, str) else [list(pair) for pair in edges],
            "networks": {
                one: [list(edge) for edge in networks.declared(one, declared)] for one in asked.networks
            },
            "seeds": {label: self.seed_regions(label) for label in labels},
        }

    def mediator_images(self, name: str) -> list[str]:
        """Files that the regions behind the maps of a mediation analysis are placed with."""
        files = [file for label in self.mediators(name)["seeds"] for file in self.seed_images(label)]
        return list(dict.fromkeys(files))

    def predicting(self, name: str) -> dict[str, list[list[str | int]]]:
        """Signed edges of each network of a prediction, or its edges under an empty name; nothing for all."""
        asked, own = self.config.prediction[name], self.config.connectivity.networks
        if asked.networks:
            return {
                network: [list(edge) for edge in networks.declared(network, own)]
                for network in asked.networks
            }
        pairs = predicting_edges(asked, own)
        return {"": [list(pair) for pair in pairs]} if pairs else {}

    def replicated(self, name: str) -> dict[str, Any]:
        """What a replication asks of connectivity: edges, edges of networks, and what an edge is."""
        asked = self.config.replication[name]
        looked_at = replicated_features(asked, self.config.models[asked.model])
        return {
            "edges": self.pairs(looked_at.edges),
            "networks": self.spelled(looked_at.declared_networks),
            "measure": looked_at.edge_measure,
        }

    @property
    def analyses_record(self) -> dict[str, Any]:
        """Every clinical analysis, as JSON-ready values: what says who takes part."""
        config = self.config
        found = Analyses(
            config.clinical,
            config.connectivity.combine_runs,
            config.associations,
            config.mediation,
            config.prediction,
            config.reliability,
            {name: needs_of(config, one) for name, one in config.prediction.items()},
            {
                name: Replicated(one, config.models[one.model], config.inference, tuple(config.datasets))
                for name, one in config.replication.items()
            },
        )
        return to_record(found)

    def coupled(self, model: str) -> bool:
        """Whether a model speaks of scores, so that change and baseline in its people are of interest."""
        clinical, settings = self.config.clinical, self.config.models[model]
        if clinical.baseline is None or clinical.endpoint is None or not clinical.scales:
            return False
        texts = [getattr(settings, key, None) for key in ("group", "arm", "outcome", "predictor", "formula")]
        words = set(re.findall(r"[A-Za-z]\w*", " ".join([*settings.covariates, *filter(None, texts)])))
        return bool(words & {"response", "remission", *clinical.scales})

    @property
    def companions(self) -> tuple[Path, ...]:
        """Tables that stand beside every model: what else differed, and change against baseline."""
        models = tuple(self.config.models)
        coupled = tuple(paths.coupling(model) for model in models if self.coupled(model))
        return (*map(paths.adjustment, models), *coupled)

    @property
    def analyses(self) -> tuple[tuple[str, str], ...]:
        """Kind and name of every clinical analysis; the kind is the folder of its results."""
        asked: dict[str, Iterable[str]] = {
            "reliability": self.config.reliability,
            "association": self.config.associations,
            "mediation": self.config.mediation,
            "prediction": self.config.prediction,
            "replication": self.config.replication,
        }
        return tuple((kind, name) for kind, names in asked.items() for name in names)

    def reliability_of(self, association: str) -> list[Path]:
        """Table of reliability that an association takes its ceiling from; empty when it has none."""
        asked = self.config.associations[association].reliability
        return [] if asked is None else [paths.analysis("reliability", asked, ".tsv")]

    @cached_property
    def products(self) -> dict[str, tuple[Path, ...]]:
        """What every stage leaves when all goes well, in the order of the stages: a file for each job."""
        runs, models = self.runs, self.config.models
        return {
            "project": tuple(map(paths.project_receipt, runs)),
            "measure": tuple(map(paths.measure_receipt, runs)),
            "collect": (paths.COLLECTED, paths.ROIS),
            "cohort": (paths.COHORT,),
            "design": tuple(map(paths.design_json, models)),
            "test": tuple(paths.test_result(model, what) for model in models for what in self.tests(model)),
            "correct": tuple(map(paths.correct_receipt, models)),
            "clinic": (
                *self.companions,
                *(paths.analysis(kind, name) for kind, name in self.analyses),
            ),
            "report": (paths.EXCLUSIONS, paths.CONFIG, paths.LOCK, paths.REPORT),
        }

    @property
    def resolved(self) -> str:
        """The resolved configuration as YAML, with paths as seen from the output folder."""
        return dump(self.config, self.root, self.out)

    @property
    def lock_file(self) -> Path:
        """The lock of the plan, beside the configuration."""
        return lock.path_of(self.config_path)

    @cached_property
    def lock(self) -> Lock:
        """The lock of the plan, without entries when there is none.

        Raises
        ------
        InputError
            The file is cut short or edited.
        """
        return lock.read(self.lock_file)

    @cached_property
    def plans(self) -> dict[str, Plan]:
        """What decides each model and each clinical analysis."""
        sums: dict[str, str] = {}

        def digest_of(text: str) -> str:
            if text not in sums:
                sums[text] = digest(sources.locate(text, self.root))
            return sums[text]

        folders = {name: dataset_roots(one, self.root)[0] for name, one in self.config.datasets.items()}

        @cache
        def contents(dataset: str, table: ClinicalTable, columns: tuple[str, ...]) -> str | None:
            return content(folders[dataset], table, columns)

        return plans_of(self.config, digest_of, contents)

    @cached_property
    def lock_states(self) -> dict[str, str]:
        """What the lock says of each model and analysis, see `conn.lock.state_of`."""
        return {name: lock.state_of(self.lock.last, name, plan) for name, plan in self.plans.items()}

    def table_state(self, model: str) -> str:
        """What tables of a model print of the lock: of exploratory contrasts nothing, so that they stay."""
        confirmatory = any(self.plans[model].contrasts.values())
        return self.lock_states[model] if confirmatory else lock.NOT_LOCKED

    def analysis_status(self, section: str, name: str) -> str:
        """Status of a clinical analysis, such as ``confirmatory, locked 2026-03-01`` or ``exploratory``."""
        key = f"{section}.{name}"
        confirmatory = any(self.plans[key].contrasts.values())
        return lock.label(self.lock_states[key], confirmatory=confirmatory)

    @cached_property
    def lock_record(self) -> dict[str, Any]:
        """The lock as the output folder holds it."""
        return lock.record(self.lock, self.plans)

    def refuse_foreign(self) -> None:
        """Our files go only where nobody else's results are.

        Raises
        ------
        ConfigError
            The output folder holds the data of another program.
        """
        _refuse_foreign(self.out, self.config.out)

    def prepare(self) -> None:
        """Make the output folder and write the index into it; nothing is made when the data are wrong.

        Raises
        ------
        ConfigError, InputError
            See `conn.index.build_index` and `lock`.
        ResourceError
            The output folder cannot be written.
        """
        _ = self.lock  # A damaged one is told before anything runs.
        record = index_to_record(self.index)
        self.refuse_foreign()
        path = self.out / INDEX
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            if not path.exists() or read_json(path) != record:
                write_json(path, record)
        except OSError as error:
            raise ResourceError(f"out: {self.config.out!r} cannot be written ({error.strerror})") from None


def _problems(study: Study) -> Iterator[str]:
    """Files and folders of the configuration that cannot be used."""
    for key, written in roi_files(study.config.rois):
        if not sources.locate(written, study.root).is_file():
            yield f"{key}: there is no file {written!r}. Paths are relative to the configuration file."
    for name, dataset in study.config.datasets.items():
        folders = zip(("bids_dir", "derivatives"), dataset_roots(dataset, study.root), strict=True)
        for key, folder in folders:
            if folder.resolve() == study.out:
                yield (
                    f"out: {study.config.out!r} is datasets.{name}.{key}; results would mix with the data. "
                    "Choose a folder of its own."
                )


def roi_files(rois: Rois) -> Iterator[tuple[str, str]]:
    """Key and text of every file that `rois` names."""
    for label, roi in rois.custom.items():
        for kind in ("mask", "probability", "peak"):
            written = getattr(roi, kind)
            if written is not None:
                yield f"rois.custom.{label}.{kind}", written
    for section, atlases in (("atlases", rois.atlases), ("reference", rois.reference)):
        for name, atlas in atlases.items():
            yield f"rois.{section}.{name}.image", atlas.image
            if atlas.table is not None:
                yield f"rois.{section}.{name}.table", atlas.table
    for i, one in enumerate(rois.transforms):
        yield f"rois.transforms[{i}].file", one.file


def _refuse_foreign(out: Path, written: str) -> None:
    path = out / "dataset_description.json"
    made_by = read_json(path).get("GeneratedBy") or [] if path.is_file() else []
    names = [str(entry.get("Name")) for entry in made_by if isinstance(entry, dict)]
    if (path.is_file() and "conn" not in names) or (any(out.glob("sub-*")) and not (out / INDEX).exists()):
        raise ConfigError(
            f"out: {written!r} holds the data of another program ({', '.join(names) or 'no GeneratedBy'}). "
            "Choose a folder of its own."
        )


def _refuse_one_name_twice(runs: Sequence[Run]) -> None:
    """Outputs are named after the entities of a run: two data sets must not give two runs the same ones."""
    owner: dict[str, Run] = {}
    for run in runs:
        other = owner.setdefault(run.name, run)
        if other.dataset != run.dataset:
            raise ConfigError(
                f"datasets: {other.dataset} and {run.dataset} both have {run.name}; their results would have "
                "one name. Subjects of different data sets need different labels, or a study each."
            )


def open_study(path: Path) -> Study:
    """Load and check a configuration file.

    Raises
    ------
    ConfigError
        See `conn.config.load` and `conn.config.checks`; a mask is not there; results would mix with data.
    """
    root = path.absolute().parent.resolve()
    config = binding.bind(load(path), root, path)
    check(config, path)
    study = Study(path.absolute(), config)
    problems = list(_problems(study))
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return study


def open_workflow(files: Sequence[Path], settings: Mapping[str, Any]) -> Study:
    """The study that Snakemake was started for, with its output folder prepared.

    Parameters
    ----------
    files
        What was given as ``--configfile``.
    settings
        What was given as ``--config``.

    Raises
    ------
    ConfigError
        No file or several, or a setting outside the file.
    ConnError
        See `open_study` and `Study.prepare`.
    """
    if not files:
        raise ConfigError("no configuration: add --configfile my.yaml (a commented one: config/config.yaml)")
    if len(files) > 1:
        raise ConfigError(
            f"--configfile: {len(files)} files were given ({', '.join(str(f) for f in files)}). A study is "
            "one file, so that what ran can be read in one place."
        )
    if settings:
        raise ConfigError(
            f"--config {next(iter(settings))}=… is not read: settings stand in {files[0]} alone. "
            "Write it there."
        )
    study = open_study(Path(files[0]))
    study.prepare()
    return study
