"""Clinical analyses before anything is computed: who takes part, what is tested, what would be refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conn import analysis_words, not_done
from conn.clinic import arm_difference, association
from conn.clinic.mediation import joint, together, words
from conn.clinic.prediction import chance, folds
from conn.clinic.rates import rates_words
from conn.cohort import Person
from conn.config.association import Association
from conn.config.mediation import Mediation
from conn.config.model import Config
from conn.config.prediction import Prediction
from conn.config.reliability import Reliability
from conn.config.replication import Replication
from conn.errors import ConnError, DesignError
from conn.outcomes import Outcomes, needs_of, outcomes_of_analysis
from conn.permutation import PermutationSet
from conn.points import at
from conn.stages import association as association_stage
from conn.stages import left_out, predictors, reliability, replication
from conn.stages.association_result import DIFFERENCE, scale_reliability
from conn.stages.features import Features, Scans, scans_in
from conn.stages.mediation import refuse_gaps
from conn.stages.mediation_rows import rows_of
from conn.stages.mediation_table import told
from conn.stages.needs import Gaps, Needs
from conn.stages.prediction import chosen_people
from conn.stages.replication_fits import Chance, joint_of
from conn.study import Study

SHOWN = 5
"""People of each reason who are named."""

NOT_DONE = "WILL NOT BE DONE"
"""Begins the line of an analysis that is short of people; the others are done all the same."""

ANYTHING = "connectivity"
"""Stands for the one feature that is entered in place of those that are not measured yet."""


@dataclass(frozen=True)
class _Foreseen:
    """A configuration with the cohort that it will have."""

    study: Study
    cohort: pd.DataFrame
    runs: pd.DataFrame
    gaps: Gaps

    @property
    def config(self) -> Config:
        return self.study.config

    def scans(self, key: str) -> Scans:
        policy = self.config.connectivity.combine_runs
        return scans_in(self.study.out, key, self.cohort, self.runs, policy)


def analyses(
    study: Study,
    cohort: pd.DataFrame,
    runs: pd.DataFrame,
    problems: list[ConnError],
    gaps: Gaps | None = None,
) -> Iterator[list[str]]:
    """Lines for every clinical analysis.

    Parameters
    ----------
    study
        The study.
    cohort
        Its cohort, as far as it is foreseen.
    runs
        Its run table.
    problems
        Whatever would stop the run is put here too; being short of people does not.
    gaps
        What each run lacks, as far as it is foreseen; nothing by default.
    """
    foreseen = _Foreseen(study, cohort, runs, gaps or {})
    kinds: dict[str, Callable[[_Foreseen, str, str], Iterator[str]]] = {
        "associations": _association,
        "mediation": _mediation,
        "prediction": _prediction,
        "reliability": _reliability,
        "replication": _replication,
    }
    for section, describe in kinds.items():
        for name in getattr(study.config, section):
            key = f"{section}.{name}"
            lines: list[str] = []
            try:
                for line in describe(foreseen, name, key):
                    lines.append(line)
            except not_done.REFUSALS as error:
                lines.append(f"{NOT_DONE}: {error}")
            except ConnError as error:
                problems.append(error)
                lines.append(f"cannot be computed: {error}")
            yield [f"{section.removesuffix('s').upper()} {name}", *lines]


# Kinds ----------------------------------------------------------------------------------------------


def _association(foreseen: _Foreseen, name: str, key: str) -> Iterator[str]:
    config = foreseen.config
    asked, clinical, scans = config.associations[name], config.clinical, foreseen.scans(key)
    yield analysis_words.association_words(asked)
    for scale in asked.scale_reliability:
        share = scale_reliability(asked, clinical, scale)
        if share is not None:
            yield f"Reliability of {scale} for the ceiling: {share.value:g}, {share.words} ({share.source})"
    enrolled = association_stage.enrolled_in(scans, asked, clinical)
    arms = enrolled.text(asked.arm).tolist() if asked.arm is not None else []
    yield _people(len(enrolled.people), Counter(arms), asked.levels)
    yield from _left_out(association_stage.lost_in(enrolled, asked, clinical))
    one = np.zeros((len(enrolled.people), 1))
    features = Features("edges", ((ANYTHING, ANYTHING),), {asked.before: one, asked.after: one})
    sizes = _sizes(config, asked)
    possible = []
    for arm, own in association_stage.people_sets(features, enrolled, asked, clinical):
        module = arm_difference if arm == DIFFERENCE else association
        try:
            for people in own:
                module.refuse(people, config.inference.robust_slopes)
        except DesignError as error:
            yield f"WARNING, will be left out, {arm}: {error}."
            continue
        sets = [module.rearrangements(people, config.inference.permutations, config.seed) for people in own]
        n = ", ".join(dict.fromkeys(str(people.n) for people in own))
        possible.append(arm)
        yield from _families(arm, sizes, f"n = {n}", sets, len(asked.scales), len(own))
    yield from _lacking(foreseen, asked, scans, enrolled.people, [asked.before, asked.after])
    if not possible:
        raise DesignError(f"{key}: nothing can be correlated; the reasons stand with it")
    yield _slopes(config.inference.robust_slopes)


def _mediation(foreseen: _Foreseen, name: str, key: str) -> Iterator[str]:
    config = foreseen.config
    asked = config.mediation[name]
    yield words.question(told(asked))
    scans = foreseen.scans(key)
    rows = rows_of(name, scans, asked, config.clinical)
    yield _people(len(rows.people), Counter(rows.levels), asked.levels)
    yield from _left_out(rows.left_out)
    first, second = joint.exchanges(rows.trial, config.inference.permutations, config.seed)
    for size in _sizes(config, asked):
        yield f"family of {size}: path a {_permutations([first])}; path b {_permutations([second])}"
    if asked.together:
        together.refuse_many(rows.trial, len(asked.together))
        apart = Needs(sets={"-".join(pair): pair for pair in asked.together})
        gone = apart.lacking(scans, rows.people, [asked.before, asked.after], foreseen.gaps)
        refuse_gaps(name, apart.names, np.any(gone, axis=0).tolist())
        yield f"{len(asked.together)} edges together"
    yield from _lacking(foreseen, asked, scans, rows.people, [asked.before, asked.after])
    yield f"The larger p of both paths counts, so that none is below {_smallest([first, second])}."
    n_families = len(_sizes(config, asked)) + bool(asked.together)
    if n_families > 1:
        yield f"p_fwe holds within a family; p_holm goes over all {n_families} of them."
    yield from _too_coarse([first, second], config.inference.alpha)


def _prediction(foreseen: _Foreseen, name: str, key: str) -> Iterator[str]:
    config = foreseen.config
    asked, clinical, scans = config.prediction[name], config.clinical, foreseen.scans(key)
    yield analysis_words.prediction_words(asked)
    outcome = predictors.outcome_of(scans, asked, clinical, key)
    needs = needs_of(config, asked)
    imaging = left_out.imaging(scans, asked, needs, foreseen.gaps)
    known = predictors.known_with(scans, asked, clinical, imaging, needs.names, key)
    chosen = chosen_people(scans, name, asked, clinical, outcome, known)
    _, truth = chosen.people(known, outcome, chosen.training)
    classes: Counter[str] = Counter()
    if outcome.kind == "classifier":
        classes.update(outcome.event if value else f"not {outcome.event}" for value in truth)
    yield _people(truth.size, classes, tuple(classes)) + (
        f" To be tested in: {chosen.tested.size}." if asked.test else ""
    )
    yield from _left_out(chosen.excluded)
    folds.check(truth, outcome.kind, asked.folds, asked.inner_folds)
    groups = known.groups_of(chosen.training)
    if groups is not None:
        folds.check_sites(truth, outcome.kind, asked.inner_folds, groups)
    sets = chance.rearrangements(
        truth.size, known.strata_of(chosen.training), asked.permutations, config.seed
    )
    people = [scans.people[row] for row in (*chosen.training, *chosen.tested)]
    yield from _lacking(foreseen, asked, scans, people, [asked.at])
    sizes = ", ".join(_sizes(config, asked))
    yield f"{sizes}, all in one model; clinical predictors: {', '.join(known.clinical) or 'none'}"
    tests = "everything against the outcome" + (
        ", and imaging beside clinical values" if known.clinical else ""
    )
    yield f"{asked.folds} folds, {asked.repeats} times; tests ({tests}): {_permutations([sets])}"
    yield from _too_coarse([sets], config.inference.alpha)


def _reliability(foreseen: _Foreseen, name: str, key: str) -> Iterator[str]:
    config = foreseen.config
    asked, scans = config.reliability[name], foreseen.scans(key)
    yield analysis_words.reliability_words(asked)
    enrolled = reliability.enrolled_in(scans, asked, config.clinical)
    yield f"n = {len(enrolled.people)} with a scan{at(asked.before)}"
    yield from _left_out(reliability.lost_in(scans, enrolled, asked))
    if asked.stable is not None and asked.after is not None:
        stable = reliability.stable_in(enrolled, asked)
        both = [bool(scans.runs.get((person, asked.after))) for person in enrolled.people]
        n = int((stable & np.array(both, dtype=bool)).sum())
        yield f"{n} people who were not treated in between have both sessions"
        reliability.refuse_few(key, asked, n)
    if asked.split_half:
        counts = {"before": len(enrolled.people)}
        if asked.after is not None:
            twice = sum(bool(scans.runs.get((person, asked.after))) for person in enrolled.people)
            counts |= {"after": twice, "change": twice}
        for text in reliability.few_halves(key, asked, counts):
            yield f"WARNING, will be left out: {text}."
    points = [asked.before, *([asked.after] if asked.after is not None else [])]
    yield from _lacking(foreseen, asked, scans, enrolled.people, points)


def _lacking(
    foreseen: _Foreseen,
    asked: Association | Mediation | Prediction | Reliability,
    scans: Scans,
    people: Sequence[Person],
    points: Sequence[str],
) -> Iterator[str]:
    """Features that somebody lacks, as far as exclusions tell before the images are read."""
    needs = needs_of(foreseen.config, asked)
    lacking = needs.lacking(scans, people, points, foreseen.gaps).sum(axis=0)
    worst = [int(i) for i in np.argsort(-lacking, kind="stable") if lacking[i]]
    if not worst:
        return
    named = ", ".join(f"{needs.names[i]} ({lacking[i]} of {len(people)} people)" for i in worst[:SHOWN])
    more = " …" if len(worst) > SHOWN else ""
    what = f"{len(worst)} of {len(needs.names)} features: {named}{more}"
    if isinstance(asked, Prediction):
        yield f"Missing in somebody, and filled inside each fold: {what}."
        return
    yield (
        f"WILL BE n/a where somebody lacks them, for inference.min_share counts for models alone: {what}. "
        "Leave these people out by subset, or the regions."
    )


def _replication(foreseen: _Foreseen, name: str, key: str) -> Iterator[str]:
    config = foreseen.config
    asked = config.replication[name]
    yield analysis_words.replication_words(asked)
    prepared = replication.prepare(
        name,
        asked,
        config.models[asked.model],
        config.clinical,
        config.inference,
        foreseen.cohort,
        foreseen.runs,
        order=list(config.datasets),
        combine_runs=config.connectivity.combine_runs,
    )
    yield from _left_out(prepared.trials.homeless)
    for contrast, designs in prepared.designs.items():
        for one in designs:
            yield f"{contrast}, {replication.trial_words(one)}"
        if contrast in prepared.skipped:
            yield f"WARNING, will be left out, {contrast}: {prepared.skipped[contrast]}"
            continue
        chance = Chance(config.inference.permutations, config.seed)
        joint = joint_of([one.contrast for one in prepared.usable(contrast)], chance)
        every = "all " if joint.complete else ""
        sizes = ", ".join(_sizes(config, asked))
        yield (
            f"{contrast}: {sizes}; {every}{joint.n_set:,} rearrangements within trials, smallest attainable "
            f"p {joint.smallest_p:.3g}"
        )
        if joint.smallest_p > config.inference.alpha:
            yield f"WARNING: no p can be {config.inference.alpha:g} or less: too few people, or permutations."


# Words ----------------------------------------------------------------------------------------------


def _people(n: int, counts: Counter[str], levels: Sequence[str]) -> str:
    """Number of people, by arm or class."""
    told_levels = ", ".join(f"{level} {counts[level]}" for level in levels)
    return f"n = {n}{f' ({told_levels})' if told_levels else ''}"


def _left_out(lost: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """Who is left out, by reason."""
    reasons: dict[str, list[str]] = {}
    for _, subject, reason in lost:
        reasons.setdefault(reason.replace("_", " "), []).append(f"sub-{subject}")
    for reason, people in reasons.items():
        more = " …" if len(people) > SHOWN else ""
        yield f"  left out, {reason}: {len(people)} ({', '.join(people[:SHOWN])}{more})"


def _sizes(config: Config, asked: Association | Mediation | Prediction | Replication) -> list[str]:
    """Kinds of features with their numbers; voxels are not known before the images are read."""
    found = outcomes_of_analysis(config, asked)
    edges = _edges(found)
    sizes = [f"{edges} edge{'s' if edges > 1 else ''}"] if edges else []
    if found.networks:
        sizes.append(f"{len(found.networks)} network{'s' if len(found.networks) > 1 else ''}")
    if found.seeds:
        sizes.append(f"the maps of {len(found.seeds)} seed{'s' if len(found.seeds) > 1 else ''}")
    return sizes


def _edges(found: Outcomes) -> int:
    n = len(found.edge_regions)
    return n * (n - 1) // 2 if found.every_edge else len(found.pairs)


def _slopes(robust: bool) -> str:
    """Whose errors share a variance, and what that does."""
    what = "an error variance of each person" if robust else "one error variance for all"
    return f"{what} (inference.robust_slopes); {rates_words(robust)}"


def _families(
    arm: str, sizes: Sequence[str], n: str, sets: Sequence[PermutationSet], n_scales: int, n_families: int
) -> Iterator[str]:
    """Families of an association in one set of people."""
    scales = f"{n_scales} scale{'s' if n_scales > 1 else ''}"
    for size in sizes:
        each = "each scale its own family, times their number" if n_families > 1 else "one family"
        yield f"{arm}, {n}: {scales} by {size}, {each}; {_permutations(sets)}"


def _permutations(sets: Sequence[PermutationSet]) -> str:
    n = max(one.n_set for one in sets)
    every = "all " if all(one.complete for one in sets) else ""
    return f"{every}{n:,} permutations, smallest attainable p {_smallest(sets)}"


def _smallest(sets: Sequence[PermutationSet]) -> str:
    return f"{max(one.smallest_p for one in sets):.3g}"


def _too_coarse(sets: Sequence[PermutationSet], alpha: float) -> Iterator[str]:
    """That nothing can be significant."""
    if max(one.smallest_p for one in sets) > alpha:
        yield f"WARNING: no p can be {alpha:g} or less: too few people, or permutations."
