"""Options of reliability: how precisely edges and networks are measured."""

from __future__ import annotations

from pydantic import model_validator

from conn.config.base import Label, Name
from conn.config.features import Features


class Reliability(Features):
    """Split halves of runs, and agreement between sessions of people who were not treated in between."""

    before: Label
    """Time point of the first measurement."""
    after: Label | None = None
    """Time point of the second one. Empty: halves at `before` alone."""
    stable: dict[Name, tuple[str, ...]] | None = None
    """Who was not treated between `before` and `after`, as in `arm: [placebo]` or `arm: [waiting]`: their two sessions give intraclass correlations. `{}`: everybody. Empty: none."""
    split_half: bool = True
    """Compare the first and the second half of each run across people."""

    @model_validator(mode="after")
    def _asked(self) -> Reliability:
        if self.stable is not None and self.after is None:
            raise ValueError("stable needs after: agreement is between two time points")
        if self.before == self.after:
            raise ValueError(f"before and after are both {self.before!r}; two time points are needed")
        if self.stable is None and not self.split_half:
            raise ValueError("split_half is false and stable is empty; nothing is left to compare")
        if self.edge_measure == "partial" and self.split_half:
            raise ValueError(
                "edge_measure: halves of a run have no partial correlations; set split_half: false"
            )
        if self.nothing:
            raise ValueError("edges is none and there are no networks; nothing is left to look at")
        return self
