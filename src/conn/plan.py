"""What of a configuration decides a model or a clinical analysis: the plan that `conn lock` locks.

In: the model (or association, mediation, prediction, replication) with its contrasts, seeds and edges spelled
out, the definitions of the regions behind them, the clinical variables, scores and rules that it names,
cleaning, connectivity, inference, which scans are taken, the seed of random numbers. Out: where things are
(folders; of a table only its name, of an image of a region only its content), the report, and whatever is
computed beside the outcome. Defaults are in, so that a plan can be read by itself. Reliability has no plan:
it tests nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from conn.config.association import Association
from conn.config.contrasts import chosen_contrasts
from conn.config.mediation import Mediation
from conn.config.model import Clinical, ClinicalTable, Config, Dataset, Model, Remission, Response
from conn.config.pairs import partial_set
from conn.config.prediction import Prediction
from conn.config.replication import Replication
from conn.lock import CONTENT, WHOLE, Plan
from conn.outcomes import Analysis, Outcomes, outcomes_of_analysis, outcomes_of_model
from conn.rois import networks, registry
from conn.rois.registry import Roi

Digest = Callable[[str], str]
"""From the path of an image, as in the configuration, to the SHA-256 of its content."""

Contents = Callable[[str, ClinicalTable, tuple[str, ...]], str | None]
"""From a data set, one of its tables, and columns to what they hold; None when they are not there."""

Setting = tuple[str, Any, bool]
"""Key, JSON value, and whether that is the default."""

PLACES = frozenset({"bids_dir", "derivatives"})
"""Keys of a data set that say where it is."""

NOT_DECIDING = frozenset({"seeds", "xdf"})
"""Keys of `connectivity` that no test depends on; the seeds of a model are listed with the model."""

OF_MAPS = frozenset({"fwhm_mm", "smooth_within_mask"})
"""Keys of `connectivity` that concern maps alone."""

ANALYSES = ("associations", "mediation", "prediction", "replication")
"""Sections of clinical analyses that have a plan."""

UNORDERED = frozenset({"covariates", "strata", "scales", "remove", "clinical", "train", "test"})
"""Options of models and analyses that are lists whose order means nothing."""

SPELLED = frozenset({"subset", "seeds", "edges", "networks", "together", "contrasts"})
"""Options of models and analyses that stand in a plan in another form."""

_NO_DEFAULT = object()


def plans_of(config: Config, digest: Digest, contents: Contents = lambda *_: None) -> dict[str, Plan]:
    """The plan of every model, by its name, and of every analysis, as in ``mediation.carried``.

    Parameters
    ----------
    config, digest, contents
        See `plan_of`.
    """
    found = {name: plan_of(config, name, digest, contents) for name in config.models}
    for section in ANALYSES:
        for name in getattr(config, section):
            found[f"{section}.{name}"] = analysis_plan(config, section, name, digest, contents)
    return found


def plan_of(config: Config, name: str, digest: Digest, contents: Contents = lambda *_: None) -> Plan:
    """The plan of a model.

    Parameters
    ----------
    config
        A checked configuration, names of atlas regions bound to ids.
    name
        The model.
    digest
        Of the images that define regions, and of transforms.
    contents
        Of the clinical tables. What is not there yet is not in the plan, and is no change when it comes.

    Returns
    -------
    Plan
    """
    model = config.models[name]
    outcomes = outcomes_of_model(config, model)
    found = [
        *_shared(config, model, outcomes, digest, contents),
        *_section("inference", config.inference),
        *_options(f"models.{name}", model),
        *_looked_at(f"models.{name}", outcomes),
        *_contrasts(f"models.{name}", model),
    ]
    return _plan(found, contrasts_of(model))


def analysis_plan(
    config: Config, section: str, name: str, digest: Digest, contents: Contents = lambda *_: None
) -> Plan:
    """The plan of a clinical analysis, which is confirmatory as a whole or not.

    Parameters
    ----------
    config, digest, contents
        See `plan_of`.
    section
        One of `ANALYSES`.
    name
        Of the analysis.

    Returns
    -------
    Plan
    """
    asked: Analysis = getattr(config, section)[name]
    outcomes = outcomes_of_analysis(config, asked)
    if isinstance(asked, Replication):
        found = list(_replication(config, f"{section}.{name}", asked, outcomes, digest, contents))
        return _plan(found, {WHOLE: asked.confirmatory})
    # A prediction has permutations of its own; no other option of `inference` touches these analyses.
    deciding = {"alpha"} if isinstance(asked, Prediction) else {"alpha", "permutations"}
    deciding |= {"robust_slopes"} if isinstance(asked, Association) else set()
    key = f"{section}.{name}"
    found = [
        *_shared(config, asked, outcomes, digest, contents),
        *_section("inference", config.inference, set(type(config.inference).model_fields) - deciding),
        *_options(key, asked),
        *_looked_at(key, outcomes),
    ]
    if outcomes.together:
        found.append((f"{key}.together", _names(outcomes.together), False))
    return _plan(found, {WHOLE: asked.confirmatory})


def _replication(
    config: Config, key: str, asked: Replication, outcomes: Outcomes, digest: Digest, contents: Contents
) -> Iterator[Setting]:
    """What decides a replication: its own options and its model, but not what else that model looks at."""
    model = config.models[asked.model]
    deciding = {"alpha", "permutations", "min_share", "robust_slopes"}
    shared = {entry[0]: entry for entry in _shared(config, model, outcomes, digest, contents)}
    yield from (shared | {e[0]: e for e in _shared(config, asked, outcomes, digest, contents)}).values()
    yield from _section("inference", config.inference, set(type(config.inference).model_fields) - deciding)
    yield from _options(f"models.{asked.model}", model)
    yield from _section(key, asked, SPELLED)
    yield f"{key}.contrasts", list(asked.contrasts or chosen_contrasts(model)), not asked.contrasts
    yield from _looked_at(key, outcomes)


def _plan(found: Iterable[Setting], contrasts: Mapping[str, bool]) -> Plan:
    found = list(found)
    settings = {key: value for key, value, _ in found}
    defaults = frozenset(key for key, _, is_default in found if is_default)
    return Plan(settings, defaults, contrasts)


def _shared(
    config: Config, asked: Model | Analysis, outcomes: Outcomes, digest: Digest, contents: Contents
) -> Iterator[Setting]:
    """What models and analyses have in common."""
    yield "seed", config.seed, False
    yield from _datasets(config)
    yield from _clinical(config, asked)
    yield from _tables(config, asked, contents)
    yield from _section("denoise", config.denoise)
    yield from _connectivity(config, outcomes)
    yield from _regions(config, outcomes, digest)


def contrasts_of(model: Model) -> dict[str, bool]:
    """Contrasts that a model tests, and whether each is marked confirmatory."""
    asked = model.contrasts
    return {name: name in asked and asked[name].confirmatory for name in chosen_contrasts(model)}


# Sections -------------------------------------------------------------------------------------------


def _section(key: str, section: BaseModel, left_out: Iterable[str] = ()) -> Iterator[Setting]:
    """Every option of a section, the sections in it taken apart."""
    apart = set(left_out)
    for name, option in type(section).model_fields.items():
        if name not in apart:
            default = _NO_DEFAULT if option.is_required() else option.get_default(call_default_factory=True)
            yield from _leaves(f"{key}.{name}", getattr(section, name), default)


def _leaves(key: str, value: Any, default: Any) -> Iterator[Setting]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            same = type(default) is type(value)
            inner = getattr(default, name) if same else _NO_DEFAULT
            yield from _leaves(f"{key}.{name}", getattr(value, name), inner)
    else:
        yield key, _json(value), value == default


def _json(value: Any) -> Any:
    return to_jsonable_python(value, inf_nan_mode="strings")


def _unordered(values: Iterable[str]) -> list[str]:
    """A list whose order means nothing."""
    return sorted(values)


def _datasets(config: Config) -> Iterator[Setting]:
    """Which scans are taken; not where they are."""
    for name, dataset in config.datasets.items():
        key = f"datasets.{name}"
        yield from _section(key, dataset, {*PLACES, "subjects", "time_points", "filters"})
        yield from _choice(key, dataset)
        yield from _section(f"{key}.time_points", dataset.time_points, {"table"})
        table = dataset.time_points.table
        yield f"{key}.time_points.table", None if table is None else _file(table), table is None


def _choice(key: str, dataset: Dataset) -> Iterator[Setting]:
    filters = {k: v if isinstance(v, str) else _unordered(v) for k, v in dataset.filters.items()}
    yield f"{key}.filters", filters, not filters
    yield f"{key}.subjects", _unordered(dataset.subjects), not dataset.subjects


def _file(path: str) -> str:
    """Name of a table: a study may move."""
    return PurePosixPath(path).name


def _clinical(config: Config, asked: Model | Analysis) -> Iterator[Setting]:
    """Tables and rules, and of variables and scores those that are named."""
    clinical = config.clinical
    apart = {"tables", "scales", "variables", "response", "remission", "improbable_sd"}
    yield from _section("clinical", clinical, apart)
    tables = [{**_json(table), "path": _file(table.path)} for table in clinical.tables]
    yield "clinical.tables", tables, False
    named = _named(clinical, asked)
    for name, rule in _rules(clinical).items():
        if name in named:
            yield from _section(f"clinical.{name}", rule)
    for kind, options in (("scales", clinical.scales), ("variables", clinical.variables)):
        for name in sorted(named & set(options)):
            yield from _section(f"clinical.{kind}.{name}", options[name])


def _rules(clinical: Clinical) -> dict[str, Response | Remission]:
    rules = {"response": clinical.response, "remission": clinical.remission}
    return {name: rule for name, rule in rules.items() if rule is not None}


def _named(clinical: Clinical, asked: Model | Analysis) -> set[str]:
    """Words that may be variables, scores and rules, and the scores that these rules need."""
    named = set(_words(_json(asked)))
    return named | {rule.scale for name, rule in _rules(clinical).items() if name in named}


def _tables(config: Config, asked: Model | Analysis, contents: Contents) -> Iterator[Setting]:
    """What the columns that are used hold, by data set and table.

    They pass for defaults: a lock that was written before the table was there does not know them.
    """
    clinical = config.clinical
    named = _named(clinical, asked)
    used = {one.column for name, one in clinical.variables.items() if name in named}
    for name, scale in clinical.scales.items():
        if name in named:
            used |= {*scale.columns.values(), *([scale.column] if scale.column else [])}
    for dataset in config.datasets:
        for table in clinical.tables:
            held = contents(dataset, table, tuple(sorted(used)))
            if held is not None:
                yield f"{CONTENT}{dataset}.{_file(table.path)}", held, True


def _words(data: Any) -> Iterator[str]:
    """Every word in the texts and keys of a section, wherever it stands."""
    if isinstance(data, str):
        yield from re.findall(r"[A-Za-z]\w*", data)
    elif isinstance(data, Mapping):
        yield from _words([*data.keys(), *data.values()])
    elif isinstance(data, list):
        for one in data:
            yield from _words(one)


# Outcomes -------------------------------------------------------------------------------------------


def _signed(edges: Iterable[networks.Edge]) -> list[str]:
    """Edges by their names; those that count turned round say so."""
    return _unordered("-".join(sorted((a, b))) + (" (-1)" if sign < 0 else "") for a, b, sign in edges)


def _names(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return _unordered("-".join(sorted(pair)) for pair in pairs)


def _options(key: str, asked: Model | Association | Mediation | Prediction) -> Iterator[Setting]:
    """Options of a model or an analysis but those that are spelled out."""
    sets = UNORDERED & set(type(asked).model_fields)
    yield from _section(key, asked, sets | SPELLED)
    for one in sorted(sets):
        value = getattr(asked, one)
        default = type(asked).model_fields[one].get_default()
        yield f"{key}.{one}", None if value is None else _unordered(value), value == default
    yield f"{key}.subset", {k: _unordered(v) for k, v in asked.subset.items()}, not asked.subset


def _looked_at(key: str, outcomes: Outcomes) -> Iterator[Setting]:
    """Maps, edges and networks."""
    yield f"{key}.seeds", _unordered(seed.label for seed in outcomes.seeds), False
    if outcomes.every_edge:
        yield f"{key}.edges", "all pairs of edge_regions", False
        yield f"{key}.edge_regions", _unordered(outcomes.edge_regions), False
    else:
        yield f"{key}.edges", _names(outcomes.pairs), False
    united = {network: _signed(edges) for network, edges in outcomes.networks.items()}
    yield f"{key}.networks", united, not united


def _contrasts(key: str, model: Model) -> Iterator[Setting]:
    for contrast, confirmatory in contrasts_of(model).items():
        yield f"{key}.contrasts.{contrast}.confirmatory", confirmatory, False


def _connectivity(config: Config, outcomes: Outcomes) -> Iterator[Setting]:
    asked, seeds = config.connectivity, outcomes.maps
    apart = {*NOT_DECIDING, "together", "partial", "nuisance_regions", "networks"}
    yield from _section("connectivity", asked, apart if seeds else apart | OF_MAPS)
    yield "connectivity.nuisance_regions", _unordered(_nuisance(config)), not asked.nuisance_regions
    for seed in seeds:
        if seed.group is not None:
            yield f"connectivity.together.{seed.group}", _unordered(seed.regions), False
    if outcomes.partial and asked.partial is not None:
        yield from _section("connectivity.partial", asked.partial, {"rois"})
        yield "connectivity.partial.rois", _unordered(partial_set(config)), False


def _nuisance(config: Config) -> tuple[str, ...]:
    own = registry.own_labels(config.rois)
    return registry.expand(config.connectivity.nuisance_regions, own, "connectivity.nuisance_regions")


# Regions --------------------------------------------------------------------------------------------


def _regions(config: Config, outcomes: Outcomes, digest: Digest) -> Iterator[Setting]:
    """Rules for all regions, and what each region behind an outcome is."""
    rois = config.rois
    yield from _section("rois", rois, {"use", "custom", "atlases", "reference", "transforms"})
    lead = [(one, f"sha256:{digest(one.file)}") for one in rois.transforms]
    moved = [{"regions": one.regions, "images": one.images, "file": content} for one, content in lead]
    yield "rois.transforms", moved, not moved
    known = {roi.label: roi for roi in registry.regions(rois)}
    for label in sorted(outcomes.regions | set(_nuisance(config))):
        roi = known[label] if label in known else registry.find(label, rois)
        yield f"regions.{label}", _definition(roi, digest), False


def _definition(roi: Roi, digest: Digest) -> Any:
    """A shape in words, or what is taken of which image; always with its template."""
    if roi.image is None:
        return f"{roi.definition}, {roi.space}"
    parts = {key: value for key, value in asdict(roi.image).items() if key != "path" and value is not None}
    return {**_json(parts), "image": f"sha256:{digest(roi.image.path)}", "space": roi.space}
