"""Options of associations: does the change of connectivity go with the change of symptoms?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from conn.config.base import Label, Name, Share
from conn.config.features import Features


class Association(Features):
    """Correlations of the change of connectivity with scores."""

    before: Label
    """Time point that the change of connectivity is counted from."""
    after: Label
    """Time point that it is counted to."""
    scales: Annotated[tuple[str, ...], Field(min_length=1)]
    """Scores: `SCALE.change`, `SCALE.percent_change`, `SCALE.TIMEPOINT`, or a number of `clinical.variables`. All scales and all edges are one family."""
    adjusted: bool = False
    """Hold the baseline of the scale (at `clinical.baseline`) and the baseline of the edge constant too. A change then says the same as the score after treatment."""
    arm: Name | None = None
    """A category. Given: correlations within each arm, over all arms adjusted for arm, and whether arms differ."""
    levels: tuple[str, ...] = ()
    """The arms, two or more. Two: the first minus the second where they are compared."""
    covariates: tuple[str, ...] = ()
    """What is held constant: names of `clinical.variables`, scores, or `mean_fd`. One that varies over time enters as its difference."""
    strata: tuple[Name, ...] = ()
    """Categories within which people change places, such as site; arms are always kept apart."""
    people: Literal["common", "each"] = "common"
    """Where people lack a scale: `common` takes those who have all scales, so that there is one family over scales; `each` takes for every scale those who have it, and corrects for the number of scales by Bonferroni."""
    resamples: Annotated[int, Field(ge=0)] = 2000
    """Bootstrap resamples of people for the intervals; 0 for none."""
    reliability: Label | None = None
    """An analysis of `reliability` that says how precisely edges are measured, for the ceiling of a correlation; with the same `before` and `after`. Empty: no ceiling."""
    scale_reliability: dict[Name, Share | Literal["registry"]] = {}
    """Reliability of each scale between people, as in `MADRS: 0.85`, for the ceiling. Name the source in your report. `MADRS: registry` takes the test-retest reliability of a published scale (`kind` in `clinical.scales`; `conn scales` lists them) and prints it with its source; that is refused where the source could not be checked, or where there are several. A scale without one counts as free of error, so that its ceiling is too high."""
    confirmatory: bool = False
    """Planned before the data were seen, as a whole; `conn lock` writes it down. Otherwise it is labelled exploratory."""

    @model_validator(mode="after")
    def _arms(self) -> Association:
        if (self.arm is None) != (len(self.levels) == 0) or len(self.levels) == 1:
            raise ValueError("give both arm and at least two levels, or neither")
        if self.before == self.after:
            raise ValueError(f"before and after are both {self.before!r}; a change needs two time points")
        if len(set(self.levels)) < len(self.levels):
            raise ValueError(f"levels: an arm is listed twice in {', '.join(self.levels)}")
        if len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales: one is listed twice in {', '.join(self.scales)}")
        if self.nothing:
            raise ValueError("edges is none and there are no networks; nothing is left to correlate")
        return self
