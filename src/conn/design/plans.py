"""The compile table: what each contrast of each design asks for, before anybody looks at the people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from conn.config.model import Model, Paired, Regression, TwoSample
from conn.design.spec import EffectType, Exchange

Tested = Literal["intercept", "group", "predictor"]


@dataclass(frozen=True)
class Plan:
    """What a contrast asks for, before anybody looks at the people."""

    name: str
    tested: Tested
    exchange: Exchange
    effect_type: EffectType
    at: str | None = None
    before: str | None = None
    after: str | None = None
    mean: bool = False

    @property
    def weights(self) -> dict[str, float]:
        """Time point to weight."""
        if self.at is not None:
            return {self.at: 1.0}
        before, after = str(self.before), str(self.after)
        return {before: 0.5, after: 0.5} if self.mean else {before: -1.0, after: 1.0}

    @property
    def data(self) -> str:
        """The data of a row, in words."""
        if self.at is not None:
            return f"connectivity at {self.at}"
        if self.mean:
            return f"connectivity averaged over {self.before} and {self.after}"
        return f"change of connectivity, {self.after} minus {self.before}"


def plan_of(contrast: str, model: Model) -> Plan:
    """The compile table: time points, tested column and exchange of each contrast."""
    if isinstance(model, Paired):
        return Plan(contrast, "intercept", "flips", "paired", before=model.before, after=model.after)
    if isinstance(model, TwoSample):
        return Plan(contrast, "group", "labels", "two_sample", at=model.at)
    if isinstance(model, Regression):
        before, after = model.before, model.after
        return Plan(contrast, "predictor", "labels", "slope", at=model.at, before=before, after=after)
    if contrast == "time":
        return Plan(contrast, "intercept", "flips", "paired", before=model.before, after=model.after)
    mean = contrast == "group"
    return Plan(contrast, "group", "labels", "two_sample", before=model.before, after=model.after, mean=mean)
