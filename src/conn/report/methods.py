"""The methods text, filled from what ran."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from typing import Any

import numpy as np

import conn
from conn.combination import choose
from conn.config.model import (
    Config,
    Crossover,
    Enhancement,
    Model,
    Moderator,
    Paired,
    ParallelArms,
    Regression,
)
from conn.confounds import STRATEGIES, takes_components
from conn.design import exchange_words
from conn.report import clinic_section, inference_words, opening, plan_section, references
from conn.report.brain import TEMPLATE
from conn.report.context import anchor_of
from conn.report.contract import ContrastResult, Outputs
from conn.report.designs import DESIGNS, comparison, groupings
from conn.report.inference_words import families_words, repeated_words, statistic_words
from conn.report.words import capital, count, listed, significant, spelled
from conn.rois import registry, selection

PACKAGES = ("numpy", "scipy", "pandas", "nibabel", "nilearn", "snakemake", "matplotlib", "jinja2", "pydantic")


@dataclass(frozen=True)
class Software:
    """A program that took part."""

    name: str
    version: str
    licence: str


def software() -> list[Software]:
    """Ourselves, Python, and the packages that results or figures depend on."""
    rows = [
        Software("conn (trialconn)", conn.__version__, "BSD-3-Clause"),
        Software("Python", platform.python_version(), "PSF-2.0"),
    ]
    for name in PACKAGES:
        try:
            rows.append(Software(name, version(name), _licence(name)))
        except PackageNotFoundError:
            continue
    return rows


def _licence(name: str) -> str:
    """What a package says about its licence: expression, classifier, or the first line of the text."""
    data = metadata(name)
    stated = [*(data.get_all("License-Expression") or [])]
    classifiers = [c for c in data.get_all("Classifier") or [] if c.startswith("License ::")]
    stated += [c.rsplit(" :: ", 1)[-1] for c in classifiers]
    stated += [line for text in data.get_all("License") or [] for line in text.strip().split("\n")[:1]]
    text = stated[0] if stated else "see package"
    return text if len(text) <= 60 else text[:57] + "…"


def context(outputs: Outputs) -> dict[str, Any]:
    """Everything that `methods.md.j2` prints."""
    config = outputs.config
    return {
        "simulated": outputs.simulated,
        "n_people": people(outputs.runs),
        "n_runs": len(outputs.runs),
        "n_included": len(outputs.included),
        "n_people_included": people(outputs.included),
        "tasks": listed(_values(outputs, "task")),
        "spaces": listed(_values(outputs, "space")),
        "n_datasets": outputs.runs["dataset"].nunique(),
        "made_by": listed(outputs.made_by),
        "denoise": config.denoise,
        "strategy": strategy_words(config.denoise.strategy),
        "k": number_range(outputs.included["df"].to_numpy(float), 2),
        "seconds": number_range(outputs.included["seconds_kept"].to_numpy(float)),
        "fd": number_range(outputs.included["mean_fd"].to_numpy(float), 2),
        "regions": len(outputs.coverage) or len(config.rois.use),
        "maps_made": maps_made(outputs),
        "measures": list(measures(outputs)),
        "config": config,
        "combined": combined(outputs),
        "plan": plan_section.sentences(outputs),
        "models": [model_words(outputs, name) for name in config.models],
        "maps": outputs.has_maps and bool(outputs.models),
        "enhancement": enhancement_words(config.inference.enhancement),
        "several_families": any(c.n_families > 1 for c in outputs.contrasts()),
        "welch": any(np.ptp(c.rows.variance_groups) > 0 for c in outputs.contrasts()),
        "nuisance": any(c.rows.has_nuisance for c in outputs.contrasts()),
        "has_f": any(c.is_f for c in outputs.contrasts()),
        "families": families_words(outputs),
        "designs": inference_words.sentences(outputs),
        "clinic": clinic_section.methods(outputs),
        "template": TEMPLATE,
        "software": software(),
        "references": references.cited(outputs),
        "count": count,
    }


def enhancement_words(asked: Enhancement | None) -> str:
    """How maps were enhanced; empty when they were not."""
    if asked is None:
        return ""
    near = f"{asked.neighbours} neighbours"
    if asked.kind == "tfce":
        return (
            "Of maps, the score of threshold-free cluster enhancement (Smith and Nichols 2009; "
            f"E = {asked.extent_power:g}, H = {asked.height_power:g}, {near}, integrated exactly) takes "
            "the place of the statistic."
        )
    what = "mass" if asked.kind == "mass" else "extent"
    sets = f"clusters above {asked.threshold:g} ({near})"
    return f"Of maps, the {what} of {sets} takes the place of the statistic."


def people(table: Any) -> int:
    """Different people in a table."""
    return len(table.drop_duplicates(["dataset", "subject"]))


def _values(outputs: Outputs, column: str) -> list[str]:
    return list(dict.fromkeys(v for v in outputs.runs[column] if v != "n/a"))


def maps_made(outputs: Outputs) -> str:
    """Maps that were computed, in words: those of the first level, and those of the models."""
    made = set(outputs.seed_maps) | {s for c in outputs.contrasts() for s in c.maps}
    n_unique = len(made & {seed.label for seed in together(outputs.config)})
    parts = [f"maps of {count(len(made) - n_unique, 'seed')}"] if len(made) > n_unique else []
    parts += [f"unique maps of {count(n_unique, 'seed')}"] if n_unique else []
    return capital(listed(parts))


def combined(outputs: Outputs) -> str:
    """What became of several runs of one time point; empty when nobody has several."""
    policy = outputs.config.connectivity.combine_runs
    if not len(outputs.cohort) or not outputs.cohort["runs"].str.contains(";").any():
        return ""
    if policy == "weighted":
        return "Runs of one time point were averaged in z, weighted by their degrees of freedom minus 2."
    unused = len(choose(outputs.cohort, outputs.runs, policy)[1])
    taken = {
        "first": "the first (by session and run entity)",
        "most_df": "the one with the most degrees of freedom (the first of equal ones)",
    }[policy]
    return (
        f"Of several runs of one time point, models took {taken}, at all time points alike; "
        f"{count(unused, 'included run')} {'was' if unused == 1 else 'were'} not used."
    )


def together(config: Config) -> tuple[selection.Seed, ...]:
    """Seeds that were entered together."""
    return selection.unique(config.connectivity.together, registry.own_labels(config.rois))


def measures(outputs: Outputs) -> Iterable[str]:
    """Sentences on what was computed beside correlations."""
    asked, config = outputs.config.connectivity, outputs.config
    if asked.together:
        groups: dict[str, list[str]] = {}
        for seed in together(config):
            groups.setdefault(str(seed.group), []).append(seed.roi)
        named = "; ".join(f"{group}: {listed(members)}" for group, members in groups.items())
        yield (
            f"Seeds of one group were entered together ({named}): a unique map (its name ends with "
            f"{selection.UNIQUE}) holds the partial correlation of its seed with each voxel given the other "
            "seeds of the group, Fisher z-transformed, after the voxelwise regressions of Roy et al. (2009)."
        )
    if asked.partial is not None:
        n = len(selection.partial_set(asked.partial.rois, config.rois))
        shrinkage = asked.partial.shrinkage
        drawn = f", drawn towards the identity by {shrinkage:g} in every run," if shrinkage else ""
        yield (
            f"Partial correlations of {count(n, 'region')}, each pair given all the others, come from the "
            f"inverse of the correlation matrix{drawn} and were Fisher z-transformed; a run that lacks "
            "one of these regions, or keeps no more than two degrees of freedom per region, has none."
        )
    if asked.xdf:
        yield (
            "The variance of each Fisher z under autocorrelation (xDF, Afyouni et al. 2019; at least "
            "1 / (k - 2)) was written for runs whose volumes are in one piece; nothing was weighted or "
            "tested by it."
        )


def number_range(values: np.ndarray, digits: int = 3) -> str:
    """Median and range in words."""
    good = values[np.isfinite(values)]
    if not good.size:
        return "not available"
    low, middle, high = (significant(float(v), digits) for v in (good.min(), np.median(good), good.max()))
    return low if low == high else f"median {middle}, range {low} to {high}"


def strategy_words(strategy: str) -> str:
    """A denoising strategy in words, from the columns that it regresses out."""
    chosen = STRATEGIES[strategy]
    motion = sum(c.startswith(("trans_", "rot_")) for c in chosen.columns)
    tissue = sum(c.startswith(("csf", "white_matter")) for c in chosen.columns)
    whole = sum(c.startswith("global_signal") for c in chosen.columns)
    parts = [f"{motion} motion terms"]
    parts += [f"{count(tissue, 'term')} from white matter and cerebrospinal fluid"] if tissue else []
    parts += [f"{count(whole, 'term')} from the global signal"] if whole else []
    if takes_components(strategy):
        first = "" if chosen.components is None else f"first {chosen.components} (or fewer) of the "
        parts.append(
            f"the {first}anatomical CompCor components that explain half the variance of white matter and "
            "cerebrospinal fluid together"
        )
    text = listed(parts)
    if chosen.fd_threshold is not None:
        text += f", with frames censored above {chosen.fd_threshold:g} mm of framewise displacement"
    return text


@dataclass(frozen=True)
class ModelWords:
    """A model in the methods text."""

    name: str
    design: str
    what: str
    contrasts: tuple[str, ...]


def model_words(outputs: Outputs, name: str) -> ModelWords:
    """A model in words: what is compared, with which columns, n and smallest attainable p."""
    model = outputs.config.models[name]
    results = next((m.contrasts for m in outputs.models if m.name == name), ())
    return ModelWords(
        name,
        DESIGNS[model.design],
        _what(model),
        tuple(sentence for c in results for sentence in _sentences_of(c)),
    )


def _what(model: Model) -> str:
    parts = [comparison(model)]
    if model.subset:
        parts.append("in " + "; ".join(f"{k}: {listed(v)}" for k, v in model.subset.items()))
    if model.covariates:
        parts.append(f"with {listed(model.covariates)} as nuisance")
    if model.strata:
        parts.append(f"strata of {listed(model.strata)}")
    if model.edge_measure == "partial" and model.edges != "none":
        parts.append("edges are partial correlations")
    return ", ".join(parts)


def _sentences_of(contrast: ContrastResult) -> Iterable[str]:
    yield _contrast_words(contrast)
    if contrast.repeated is not None:
        yield repeated_words(contrast.repeated, contrast)


def _contrast_words(contrast: ContrastResult) -> str:
    parts = [f"{contrast.shown} ({contrast.status}): {contrast.words}", f"n = {contrast.n}"]
    parts.append(f"columns {', '.join(contrast.rows.columns)}")
    parts.append(f"tested by {statistic_words(contrast)}")
    parts.append(exchange_words(contrast.rows))
    parts.append(f"smallest attainable p {significant(contrast.smallest_p, 2)}")
    return "; ".join(parts)


def limits(outputs: Outputs) -> list[str]:
    """What this study cannot tell, as far as its own design says so."""
    return [*_limits_of_data(outputs), *_limits_of_models(outputs), *_LIMITS_ALWAYS]


_LIMITS_ALWAYS = (
    "Functional connectivity is a correlation of signals. It says neither which region drives the other "
    "nor that "
    "they are wired to each other.",
    "Motion, breathing, sleep and drugs change these correlations too. Cleaning reduces such effects; it "
    "does not "
    "remove them, and a comparison can still pick up a difference in motion.",
    "Small regions and those next to air (brainstem nuclei, subgenual and temporal cortex) hold few "
    "voxels and weak "
    "signal: read them with their coverage.",
)


def _limits_of_data(outputs: Outputs) -> Iterable[str]:
    if outputs.simulated:
        yield (
            "The data are simulated. Results show what the method does with a known truth, nothing "
            "about people."
        )
    if len(outputs.included) == 0:
        yield "No scan is in the analysis, so nothing is estimated."


def _limits_of_models(outputs: Outputs) -> Iterable[str]:
    models, config = outputs.config.models, outputs.config
    if not models and not opening.has_analyses(config):
        yield "No group model was configured: nothing is tested, and averages are descriptive."
        return
    if any(isinstance(m, Paired) for m in models.values()):
        yield (
            "A change between two time points in one group may come from time, repeated scanning or "
            "regression to the "
            "mean as well as from treatment; a paired comparison alone cannot tell them apart."
        )
    grouped = {
        name for m in models.values() if not isinstance(m, ParallelArms | Crossover) for name in groupings(m)
    }
    if grouped & {"response", "remission"}:
        yield (
            "Responders were not drawn by lot. A difference between responders and others does not show that "
            "connectivity causes response, and a dichotomy discards information."
        )
    if grouped - {"response", "remission"}:
        yield (
            "A difference between groups is an effect of treatment only if people were randomised to "
            "them; this "
            "software does not know whether they were."
        )
    if any(m.edge_measure == "partial" and m.edges != "none" for m in models.values()):
        yield (
            "A partial correlation is given the other regions of its set, and those only: with other regions "
            "it would be another number, and a source outside the set can still drive both."
        )
    if any(isinstance(m, Moderator) for m in models.values()):
        yield (
            "A moderator says for whom an arm did better in this trial. Whether choosing the arm by it "
            "would help new "
            "people is another question, which a prediction with cross-validation or a new trial answers."
        )
    if any(isinstance(m, Regression) for m in models.values()):
        yield "A slope is an association between people, not a prediction for a new person."
    yield from inference_words.limits(outputs)
    yield from clinic_section.limits(outputs)
    if len(models) > 1:
        yield (
            "Error is controlled within a family of tests (p_fwe) and within a model (p_holm). "
            f"{capital(spelled(len(models)))} models were tested here, and no correction is made across them."
        )
    small = [c for c in outputs.contrasts() if 0 < c.n < 20]
    if small:
        yield (
            f"With n = {min(c.n for c in small)}, only large effects can be found, and those found are "
            f"overestimated."
        )
    if any(not c.confirmatory for c in outputs.contrasts()):
        yield (
            "Contrasts marked exploratory were not declared as planned: they suggest, and need "
            "confirmation elsewhere."
        )
    if any(c.confirmatory and not c.planned for c in outputs.contrasts()):
        yield (
            "Contrasts marked confirmatory that were not locked before there were results, or changed since, "
            "are the authors' word: nothing here shows that they were planned."
        )
    if models or config.associations or config.mediation:
        yield f"p_fwe > {config.inference.alpha:g} does not mean that there is no effect; read the interval."


def anchors(outputs: Outputs, prefix: str) -> tuple[tuple[str, str], ...]:
    """Identifier and title of each contrast's block."""
    return tuple((anchor_of(c, prefix), c.title) for c in outputs.contrasts())
