"""Options of replications: does one contrast of a model come out the same way in several trials?"""

from __future__ import annotations

from pydantic import model_validator

from conn.config.base import Label, Name, Section


class Replication(Section):
    """One model, fitted within each of several trials and compared over them."""

    model: Label
    """The model. Within each trial its design is compiled for the people of that trial alone: same contrast, same covariates; one that is constant within a trial drops out there, which is said."""
    by: Name = "dataset"
    """What tells trials apart: `dataset`, or a category of `clinical.variables` such as `trial` or `site`."""
    trials: tuple[str, ...] = ()
    """The trials, two or more, in the order they are shown. Empty: every value of `by`. The data sets that are found in the configuration keep their order, other values go by the alphabet."""
    contrasts: tuple[Label, ...] = ()
    """Contrasts of the model. Empty: those that it tests and that have one estimate; an F over several columns has none. A repetition with motion as a covariate is left to the model."""
    edges: tuple[tuple[str, str], ...] | str | None = None
    """Pairs of regions: `all`, `none`, a list of pairs, or the name of a network. Empty: those of the model."""
    networks: tuple[str, ...] | None = None
    """Networks whose mean over their edges is looked at too. Empty: those of the model."""
    confirmatory: bool = False
    """Planned before the data were seen, as a whole; `conn lock` writes it down. Otherwise it is labelled exploratory."""

    @model_validator(mode="after")
    def _trials(self) -> Replication:
        if len(self.trials) == 1:
            raise ValueError(f"trials: {self.trials[0]!r} alone is no replication; name two or more, or none")
        for key, names in (("trials", self.trials), ("contrasts", self.contrasts)):
            if len(set(names)) < len(names):
                raise ValueError(f"{key}: one is listed twice in {', '.join(names)}")
        if self.edges == "none" and self.networks == ():
            raise ValueError("edges is none and there are no networks; nothing is left to replicate")
        return self
