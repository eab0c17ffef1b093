"""Options of mediation analyses: does a change of connectivity carry the effect of treatment on symptoms?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from conn.config.base import Label, Name, Section

Pairs = tuple[tuple[str, str], ...]


class Mediation(Section):
    """Does a change of connectivity carry the effect of treatment on symptoms?"""

    arm: Name | None = None
    """Of a trial with arms: a category among `clinical.variables`."""
    sequence: Name | None = None
    """Of a crossover, in place of `arm`: the category that says which came first."""
    levels: tuple[str, str]
    """Arms: the treated one, then the control. Crossover: the value of `sequence` where the treatment came first, then that where the control did."""
    before: Label
    """Time point before treatment; in a crossover, under control."""
    after: Label
    """Time point after treatment; in a crossover, under treatment. Scans and scores are of the same time points."""
    randomised: bool
    """Whether chance alone decided on `levels`. If not, nothing that was found is an effect of treatment, and the report says so."""
    outcome: Label
    """A scale of `clinical.scales`; its score at `after`, with that at `before` as covariate."""
    edges: Pairs | str = "all"
    """Pairs of regions, each a mediator of its own: `all`, `none`, a list of pairs, or the name of a network (`conn rois networks`)."""
    networks: tuple[str, ...] = ()
    """Networks whose mean over edges is a mediator."""
    seeds: tuple[str, ...] | Literal["all", "none"] = "none"
    """Seed maps of which every voxel is a mediator."""
    edge_measure: Literal["pearson", "partial"] = "pearson"
    """What an edge is: a Pearson correlation, or the partial one given all other regions of `connectivity.partial`."""
    together: Pairs = ()
    """Edges that enter one model of the outcome together (parallel mediators): what each carries given the others, and their sum. They must be few beside the people."""
    covariates: tuple[str, ...] = ()
    """Nuisance variables of all equations: names of `clinical.variables`, `SCALE.TIMEPOINT`, or `mean_fd`. One that varies over time enters as its value at `after`; in a crossover as its difference."""
    strata: tuple[Name, ...] = ()
    """Categories within which people are exchanged and resampled (site, sex …); they are covariates too."""
    subset: dict[Name, tuple[str, ...]] = {}
    """Keep only people whose variable has one of these values."""
    interaction: bool = False
    """Also fit the model in which connectivity and outcome go together differently in the two arms, and give the effect through connectivity with the slope of each arm."""
    bootstrap: Annotated[int, Field(ge=1000)] = 5000
    """Bootstrap samples for the intervals of effects through connectivity; 5,000 or more in what is published."""
    confirmatory: bool = False
    """Planned before the data were seen, as a whole; `conn lock` writes it down. Otherwise it is labelled exploratory."""

    @model_validator(mode="after")
    def _consistent(self) -> Mediation:
        if (self.arm is None) == (self.sequence is None):
            raise ValueError("give either arm or, for a crossover, sequence")
        if self.crossover and (self.interaction or self.together):
            raise ValueError("a crossover has no interaction and no mediators together; leave them out")
        if self.before == self.after:
            raise ValueError(f"before and after are both {self.before!r}; they must be two time points")
        if self.levels[0] == self.levels[1]:
            raise ValueError(f"levels: {self.levels[0]!r} is listed twice")
        pairs = [frozenset(pair) for pair in self.together]
        if len(set(pairs)) < len(pairs) or len(pairs) == 1:
            raise ValueError("together: list two different edges or more, or none")
        if self.edges == "none" and self.seeds == "none" and not (self.networks or self.together):
            raise ValueError("nothing is a mediator; name edges, networks, seeds or together")
        return self

    @property
    def crossover(self) -> bool:
        """Whether everybody had both treatments."""
        return self.sequence is not None

    @property
    def who(self) -> str:
        """The category that `levels` are values of."""
        return str(self.sequence if self.arm is None else self.arm)
