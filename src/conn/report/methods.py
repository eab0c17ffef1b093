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
from conn.config.model import Config, Enhancement, Model, Paired, Regression
from conn.confounds import STRATEGIES, takes_components
from conn.design import exchange_words
from conn.report import plan_section
from conn.report.brain import TEMPLATE
from conn.report.contract import ContrastResult, Outputs
from conn.report.designs import DESIGNS, comparison, groupings
from conn.report.results_section import anchor_of
from conn.report.words import capital, count, humanised, listed, significant, spelled
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


@dataclass(frozen=True)
class Reference:
    """A work cited, and for what."""

    text: str
    doi: str = ""
    address: str = ""

    @property
    def link(self) -> str:
        """Where it is found."""
        return self.address or f"https://doi.org/{self.doi}"

    @property
    def name(self) -> str:
        """What the link is called."""
        return f"doi:{self.doi}" if self.doi else self.address.removeprefix("https://")


WANG = Reference(
    "Wang H-T et al. Continuous evaluation of denoising strategies in resting-state fMRI connectivity using "
    "fMRIPrep and Nilearn. PLOS Computational Biology 20, e1011942 (2024).",
    "10.1371/journal.pcbi.1011942",
)
FMRIPREP = Reference(
    "Esteban O et al. fMRIPrep: a robust preprocessing pipeline for functional MRI. Nature Methods 16, "
    "111-116 "
    "(2019).",
    "10.1038/s41592-018-0235-4",
)
WINKLER = Reference(
    "Winkler AM et al. Permutation inference for the general linear model. NeuroImage 92, 381-397 (2014).",
    "10.1016/j.neuroimage.2014.01.060",
)
HOLM = Reference(
    "Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics "
    "6, 65-70 "
    "(1979).",
    address="https://www.jstor.org/stable/4615733",
)
COMPCOR = Reference(
    "Behzadi Y et al. A component based noise correction method (CompCor) for BOLD and perfusion based fMRI. "
    "NeuroImage 37, 90-101 (2007).",
    "10.1016/j.neuroimage.2007.04.042",
)
ROY = Reference(
    "Roy AK et al. Functional connectivity of the human amygdala using resting state fMRI. NeuroImage 45, "
    "614-626 (2009).",
    "10.1016/j.neuroimage.2008.11.030",
)
SMITH = Reference(
    "Smith SM, Nichols TE. Threshold-free cluster enhancement: addressing problems of smoothing, threshold "
    "dependence and localisation in cluster inference. NeuroImage 2009.",
    "10.1016/j.neuroimage.2008.03.061",
)
AFYOUNI = Reference(
    "Afyouni S, Smith SM, Nichols TE. Effective degrees of freedom of the Pearson's correlation coefficient "
    "under autocorrelation. NeuroImage 199, 609-625 (2019).",
    "10.1016/j.neuroimage.2019.05.011",
)
NILEARN = Reference("Nilearn contributors. Nilearn.", "10.5281/zenodo.8397156")
ICBM = Reference(
    "Fonov V et al. Unbiased average age-appropriate atlases for pediatric studies. NeuroImage 54, "
    "313-327 (2011).",
    "10.1016/j.neuroimage.2010.07.033",
)
SNAKEMAKE = Reference(
    "Mölder F et al. Sustainable data analysis with Snakemake. F1000Research 10, 33 (2021).",
    "10.12688/f1000research.29032.2",
)
OPACITY = Reference(
    "Taylor PA et al. Highlight results, don't hide them: enhance interpretation, reduce biases and improve "
    "reproducibility. NeuroImage 274, 120138 (2023).",
    "10.1016/j.neuroimage.2023.120138",
)


def references(outputs: Outputs) -> list[Reference]:
    """Works that this study's text refers to, by first author."""
    used = [WANG, NILEARN, SNAKEMAKE]
    if takes_components(outputs.config.denoise.strategy):
        used.append(COMPCOR)
    if any("fmriprep" in made.lower() for made in outputs.made_by):
        used.append(FMRIPREP)
    if outputs.contrasts():
        used.append(WINKLER)
    if any(c.n_families > 1 for c in outputs.contrasts()):
        used.append(HOLM)
    if has_maps(outputs):
        used += [ICBM, OPACITY]
    asked = outputs.config.inference.enhancement
    if asked is not None and asked.kind == "tfce" and has_maps(outputs) and outputs.models:
        used.append(SMITH)
    used += [ROY] if outputs.config.connectivity.together else []
    used += [AFYOUNI] if outputs.config.connectivity.xdf else []
    return sorted(used, key=lambda r: r.text)


def has_maps(outputs: Outputs) -> bool:
    """Whether the report draws maps."""
    return any(c.maps for c in outputs.contrasts()) or (not outputs.models and bool(outputs.seed_maps))


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
        "maps": has_maps(outputs) and bool(outputs.models),
        "enhancement": enhancement_words(config.inference.enhancement),
        "several_families": any(c.n_families > 1 for c in outputs.contrasts()),
        "welch": any(np.ptp(c.rows.variance_groups) > 0 for c in outputs.contrasts()),
        "nuisance": any(c.rows.has_nuisance for c in outputs.contrasts()),
        "template": TEMPLATE,
        "software": software(),
        "references": references(outputs),
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
        tuple(_contrast_words(c) for c in results),
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


def _contrast_words(contrast: ContrastResult) -> str:
    parts = [f"{humanised(contrast.name)} ({contrast.status}): {contrast.words}", f"n = {contrast.n}"]
    parts.append(f"columns {', '.join(contrast.rows.columns)}")
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
    if not models:
        yield "No group model was configured: nothing is tested, and averages are descriptive."
        return
    if any(isinstance(m, Paired) for m in models.values()):
        yield (
            "A change between two time points in one group may come from time, repeated scanning or "
            "regression to the "
            "mean as well as from treatment; a paired comparison alone cannot tell them apart."
        )
    grouped = {name for m in models.values() for name in groupings(m)}
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
    if any(isinstance(m, Regression) for m in models.values()):
        yield "A slope is an association between people, not a prediction for a new person."
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
    yield f"p_fwe > {config.inference.alpha:g} does not mean that there is no effect; read the interval."


def anchors(outputs: Outputs, prefix: str) -> tuple[tuple[str, str], ...]:
    """Identifier and title of each contrast's block."""
    return tuple((anchor_of(c, prefix), c.title) for c in outputs.contrasts())
