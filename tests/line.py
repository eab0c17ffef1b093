"""The stages of the line one after the other in this process: what the workflow does, without its jobs."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

from conn import paths
from conn.config import load
from conn.files import write_json, write_text
from conn.not_done import unless_refused
from conn.report import build_report
from conn.rois.registry import find
from conn.stages.association import association
from conn.stages.association_table import COLUMNS as ASSOCIATION
from conn.stages.cohort import cohort
from conn.stages.collect import collect
from conn.stages.confounding import confounding
from conn.stages.correct import correct
from conn.stages.coupling import couple
from conn.stages.design import design
from conn.stages.exclusions import gather
from conn.stages.left_out import from_record
from conn.stages.measure import measure
from conn.stages.mediation import Mediators, Resources, mediate
from conn.stages.prediction import COLUMNS as PREDICTION
from conn.stages.prediction import prediction
from conn.stages.project import RunSettings, project
from conn.stages.reliability import COLUMNS as RELIABILITY
from conn.stages.reliability import reliability
from conn.stages.replication import Wanted, replicate
from conn.stages.test import test_edges as edges_stage
from conn.stages.test import test_factor as factor_stage
from conn.stages.test import test_networks as networks_stage
from conn.stages.test import test_seed as seed_stage
from conn.study import Study, open_study


@contextmanager
def inside(folder: Path):
    """Work in a folder, as jobs of the workflow do."""
    before = Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def walk(config: Path) -> Study:
    """Run all stages of a configuration file and return the study."""
    study = open_study(config)
    with inside(study.out):
        write_text(paths.CONFIG, study.resolved)
        first_level(study)
        collect(Path(), study.index, study.links)
        cohort(Path(), study.config.clinical, study.bids_dirs, study.time_points, study.subjects)
        for name in study.config.models:
            group(study, name)
        clinic(study)
        for name in study.config.replication:
            replication(study, name)
        write_json(paths.LOCK, study.lock_record)
        gather(Path(), study.index, list(study.config.models), from_record(study.analyses_record))
        build_report(Path(), load(paths.CONFIG))
    return study


def first_level(study: Study) -> None:
    config = study.config
    for key, run in study.runs.items():
        settings = study.run_settings(key)
        roots = tuple(Path(root) for root in settings.pop("roots"))
        project(
            Path(),
            run,
            config.denoise,
            RunSettings(**settings, roots=roots),
            study.map_fwhm,
            within_mask=study.smooth_within_mask,
        )
        folder = Path(study.folder)
        measure(Path(), run, config.rois, config.connectivity, folder, study.source(key))


def clinic(study: Study) -> None:
    """Every clinical analysis; one that is refused leaves its reason, as in the workflow."""
    config, here = study.config, Path()
    for name in config.reliability:
        with unless_refused(here, "reliability", name, RELIABILITY):
            _reliability(study, name)
    for name in config.associations:
        status = study.analysis_status("associations", name)
        with unless_refused(here, "association", name, (*ASSOCIATION, "status"), status=status):
            _association(study, name, status)
    for name in config.mediation:
        status = study.analysis_status("mediation", name)
        with unless_refused(here, "mediation", name, status=status):
            mediation(study, name, status)
    for name in config.prediction:
        status = study.analysis_status("prediction", name)
        with unless_refused(here, "prediction", name, PREDICTION, status=status, more=["_model.json"]):
            _prediction(study, name, status)


def _reliability(study: Study, name: str) -> None:
    config, asked = study.config, study.config.reliability[name]
    reliability(
        Path(),
        name,
        asked,
        config.clinical,
        study.pairs(asked.edges),
        study.spelled(asked.declared_networks),
        combine_runs=config.connectivity.combine_runs,
        alpha=config.inference.alpha,
    )


def _association(study: Study, name: str, status: str) -> None:
    config, asked = study.config, study.config.associations[name]
    association(
        Path(),
        name,
        asked,
        config.clinical,
        study.pairs(asked.edges),
        study.spelled(asked.declared_networks),
        combine_runs=config.connectivity.combine_runs,
        permutations=config.inference.permutations,
        seed=config.seed,
        alpha=config.inference.alpha,
        robust_slopes=config.inference.robust_slopes,
        status=status,
    )


def _prediction(study: Study, name: str, status: str) -> None:
    config = study.config
    prediction(
        Path(),
        name,
        config.prediction[name],
        config.clinical,
        config.connectivity.combine_runs,
        study.predicting(name),
        seed=config.seed,
        alpha=config.inference.alpha,
        status=status,
    )


def mediation(study: Study, name: str, status: str) -> None:
    config, asked = study.config, study.mediators(name)
    seeds = {
        label: [find(region, config.rois) for region in regions] for label, regions in asked["seeds"].items()
    }
    mediate(
        Path(),
        name,
        config.mediation[name],
        config.clinical,
        config.inference,
        Mediators(asked["edges"], asked["networks"], seeds),
        Resources(Path(study.folder), study.map_fwhm, config.rois),
        seed=config.seed,
        combine_runs=config.connectivity.combine_runs,
        status=status,
    )


def replication(study: Study, name: str) -> None:
    config, asked = study.config, study.config.replication[name]
    replicate(
        Path(),
        name,
        asked,
        config.models[asked.model],
        config.clinical,
        config.inference,
        Wanted(**study.replicated(name)),
        seed=config.seed,
        order=list(config.datasets),
        combine_runs=config.connectivity.combine_runs,
        status=study.analysis_status("replication", name),
    )


def group(study: Study, name: str) -> None:
    config = study.config
    model = config.models[name]
    design(Path(), name, model, config.clinical, config.inference, config.connectivity.combine_runs)
    inference = config.inference
    options = {"permutations": inference.permutations, "seed": config.seed, "min_share": inference.min_share}
    for seed in study.seeds(name):
        regions = [find(region, config.rois) for region in study.seed_regions(seed)]
        folder = Path(study.folder)
        about = {"fwhm_mm": study.map_fwhm, "folder": folder, "rois": config.rois}
        seed_stage(Path(), name, seed, regions, enhancement=inference.enhancement, **about, **options)
    about = {"fwhm_mm": study.map_fwhm, "folder": Path(study.folder), "rois": config.rois}
    for factor in model.seed_factors:
        seeds = {
            label: [find(region, config.rois) for region in regions]
            for label, regions in study.factor(name, factor).items()
        }
        plain = {key: options[key] for key in ("permutations", "seed")}
        factor_stage(Path(), name, factor, seeds, enhancement=inference.enhancement, **about, **plain)
    options |= {"alpha": inference.alpha, "measure": model.edge_measure}
    if "edges" in study.tests(name):
        edges_stage(Path(), name, study.edges(name), enhancement=inference.edge_enhancement, **options)
    if "networks" in study.tests(name):
        networks_stage(Path(), name, study.networks(name), **options)
    correct(Path(), name, study.tests(name), config.inference, study.table_state(name))
    about = {"alpha": inference.alpha, "measure": model.edge_measure}
    rearranged = {"permutations": inference.permutations, "seed": config.seed}
    confounding(Path(), name, study.edges(name), study.networks(name), **rearranged, **about)
    if study.coupled(name):
        couple(Path(), name, config.clinical, study.edges(name), **about)
