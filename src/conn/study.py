"""A study as the workflow sees it: configuration, index, and what each rule needs of them.

Paths that rules receive are relative to the output folder, where the workflow runs, so that a study can be
moved as a whole without being computed again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from conn import paths
from conn.config import Config, load
from conn.config.checks import check
from conn.config.load import dump
from conn.files import read_json, write_json
from conn.index import Index, Run, build_index, dataset_roots, run_to_record
from conn.rois import registry
from conn.stages.collect import index_to_record

INDEX = paths.CACHE / "index.json"


def plain(section: BaseModel) -> dict[str, Any]:
    """A section of the configuration as JSON-ready values."""
    return section.model_dump(mode="json")


@dataclass(frozen=True)
class Study:
    """A configuration file and everything that follows from it without computing."""

    config_path: Path
    config: Config

    @property
    def root(self) -> Path:
        """Folder that paths of the configuration are relative to."""
        return self.config_path.parent

    @property
    def out(self) -> Path:
        """Output folder."""
        return Path(os.path.normpath(self.root / self.config.out))

    @cached_property
    def index(self) -> Index:
        """All runs, with paths relative to the output folder."""
        found = build_index(self.config, self.root)
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
        """Input files of a run, as seen from the output folder."""
        run = self.runs[key]
        return [str(path) for path in (run.bold, run.mask, run.confounds) if path is not None]

    def record(self, key: str) -> dict[str, Any]:
        """A run as JSON-ready values."""
        return run_to_record(self.runs[key])

    def run_settings(self, key: str) -> dict[str, Any]:
        """What stage project needs of a run's data set."""
        dataset = self.config.datasets[self.runs[key].dataset]
        raw, derivatives = dataset_roots(dataset, self.root)
        return {
            "dummy_scans": dataset.dummy_scans,
            "repetition_time": dataset.repetition_time,
            "roots": [str(self.relative(derivatives)), str(self.relative(raw))],
        }

    def source(self, key: str) -> str:
        """`bids:` URI of a run's image."""
        run = self.runs[key]
        return f"bids:{run.dataset}:{run.path}"

    @property
    def map_fwhm(self) -> float:
        """Smoothing of maps in mm; 0 when no map is asked for."""
        return self.config.connectivity.fwhm_mm if self.config.connectivity.seeds else 0.0

    @property
    def mask_folder(self) -> str:
        """Folder of the configuration, as seen from the output folder."""
        return str(self.relative(self.root))

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
        """Labels of the time points and the values that belong to them, per data set."""
        return {
            name: {label: list(values) for label, values in dataset.time_points.labels.items()}
            for name, dataset in self.config.datasets.items()
        }

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

    def seeds(self, model: str) -> tuple[str, ...]:
        """Seeds that a model tests."""
        asked = self.config.models[model].seeds
        if asked == "none":
            return ()
        names = self.config.connectivity.seeds if asked == "all" else asked
        return registry.expand(names, tuple(self.config.rois.custom), f"models.{model}.seeds")

    def tests(self, model: str) -> tuple[str, ...]:
        """What a model tests: ``seed-LABEL`` for maps, ``edges`` for edges."""
        maps = tuple(f"seed-{seed}" for seed in self.seeds(model))
        return maps if self.config.models[model].edges == "none" else (*maps, "edges")

    @property
    def resolved(self) -> str:
        """The resolved configuration as YAML, with paths as seen from the output folder."""
        return dump(self.config, self.root, self.out)

    def write_index(self) -> None:
        """Write the index into the output folder, when it is new."""
        path = self.out / INDEX
        record = index_to_record(self.index)
        if not path.exists() or read_json(path) != record:
            write_json(path, record)


def open_study(path: Path) -> Study:
    """Load and check a configuration file.

    Raises
    ------
    ConfigError
        See `conn.config.load` and `conn.config.checks`.
    """
    config = load(path)
    check(config, path)
    return Study(path.absolute(), config)
