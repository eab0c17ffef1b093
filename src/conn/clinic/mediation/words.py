"""What a mediation analysis does, and what it cannot say, in words."""

from __future__ import annotations

from dataclasses import dataclass

CHECKED_FROM = 15
"""People in the smaller arm from which intervals were checked by simulation."""


@dataclass(frozen=True)
class Told:
    """What ran, as far as words depend on it.

    Attributes
    ----------
    levels
        Treated, then control; of a crossover the time points under treatment and control.
    before, after
        Time points.
    outcome
        Name of the scale.
    who
        The variable of the levels.
    covariates, strata
        Their names.
    randomised, crossover
        Of the trial.
    """

    levels: tuple[str, str]
    before: str
    after: str
    outcome: str
    who: str
    covariates: tuple[str, ...]
    strata: tuple[str, ...]
    randomised: bool
    crossover: bool


def question(told: Told) -> str:
    """What is asked."""
    return (
        f"Does connectivity carry the effect of {told.levels[0]} against {told.levels[1]} on {told.outcome}? "
        "The effect through connectivity is a·b: a is the effect on connectivity, b is by how many points "
        f"{told.outcome} differs per unit of Fisher z, all else equal."
    )


def equations(told: Told) -> tuple[str, ...]:
    """The two regressions, and the two with roles exchanged."""
    more = "".join(f" + {name}" for name in (*told.covariates, *told.strata))
    if told.crossover:
        return (
            f"connectivity, {told.after} minus {told.before} ~ treatment + period{more}",
            f"{told.outcome}, {told.after} minus {told.before} ~ difference of connectivity + treatment + "
            f"period + sum of connectivity{more}",
            "Reverse: difference of the scale in place of that of connectivity, and the other way round.",
        )
    return (
        f"connectivity at {told.after} ~ {told.who} + connectivity at {told.before}{more}",
        f"{told.outcome} at {told.after} ~ connectivity at {told.after} + {told.who} + connectivity at "
        f"{told.before} + {told.outcome} at {told.before}{more}",
        f"Reverse: {told.outcome} at {told.after} ~ {told.who} + {told.outcome} at {told.before}{more}, and "
        f"connectivity at {told.after} ~ {told.outcome} at {told.after} + {told.who} + both at "
        f"{told.before}{more}",
    )


def exchange(told: Told) -> str:
    """How chance was measured."""
    within = f" within {' and '.join(told.strata)}" if told.strata else ""
    what = "orders of treatment" if told.crossover else told.who
    return (
        f"a: {what} exchanged between people{within}; b: residuals of connectivity exchanged within each "
        f"level of {told.who}{within}; both by the method of Freedman and Lane, families by the largest "
        "statistic."
    )


def caveats(told: Told, fewest: int) -> tuple[str, ...]:
    """What every reader must be told.

    Parameters
    ----------
    told
        What ran.
    fewest
        People in the smaller level.
    """
    found = [
        f"Connectivity and {told.outcome} were measured at the same time, and nobody was randomised to a "
        "level of connectivity. A mediated effect agrees with connectivity carrying the effect of treatment. "
        "It agrees as well with symptoms changing connectivity (in the reverse model, b is tested by the "
        "same partial correlation), and with a cause of both that was not measured.",
        "ρ at zero is how strongly the errors of both equations would have to correlate, through such a "
        "cause, for the effect to be nothing.",
        "Bootstrap intervals are for one feature each and are not corrected for having been chosen: features "
        "that stand out in this sample have estimates that are too large on average.",
    ]
    if not told.randomised:
        found.insert(
            0,
            f"{told.who} was not randomised: a, c and everything made of them are differences between people "
            "who differ in other ways too, and no effects of treatment.",
        )
    if fewest < CHECKED_FROM:
        found.append(
            f"One level of {told.who} has {fewest} people. Bootstrap intervals were checked from "
            f"{CHECKED_FROM} on; with fewer, samples repeat the same few people, and intervals are erratic."
        )
    if told.crossover:
        found.append(
            "The effects of a crossover assume that nothing of the first period carries over into the second."
        )
    return tuple(found)
