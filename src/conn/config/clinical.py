"""Options of the clinical tables: scales, rules, variables."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from conn.clinic.scales import KINDS
from conn.config.base import Label, Name, Positive, Section

ScaleName = Literal[
    "MADRS",
    "HDRS17",
    "HDRS24",
    "BDI",
    "BDI2",
    "SHAPS",
    "SHAPS56",
    "TEPS",
    "TEPSanticipatory",
    "TEPSconsummatory",
    "painVAS",
    "WOMAC",
    "WOMACpain",
    "WOMACfunction",
]
"""Scales of `conn.clinic.scales`."""


class ClinicalTable(Section):
    """A table with one row per person (wide) or per person and session (long)."""

    path: str = "participants.tsv"
    """Relative to `bids_dir`; `{subject}` stands for the subject label."""
    id_column: str = "participant_id"
    """The column with the participant."""
    session_column: str = "session_id"
    """The column with the session; when the table has it, the table is long."""


class Scale(Section):
    """A clinical score."""

    kind: ScaleName | None = None
    """A published scale, from which direction and range are taken (`conn scales` lists them with their sources). What stands here beside it overrides it."""
    column: str | None = None
    """Its column in a long table."""
    columns: dict[Label, str] = {}
    """Its column at each time point in a wide table, as in `pre: MADRS_ses-pre`."""
    direction: Literal["lower_is_better", "higher_is_better"] = "lower_is_better"
    """Which way is improvement. Empty: that of `kind`."""
    minimum: float | None = None
    """Smallest possible score; a smaller one is an error. Empty: that of `kind`."""
    maximum: float | None = None
    """Largest possible score; a larger one is an error. Empty: that of `kind`."""
    zero: float = 0.0
    """Score that percent change and response are counted from: the minimum of a scale that does not begin at 0, if you want it so."""
    reliability: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Test-retest reliability. Given: `cohort.tsv` holds the reliable change index (10.1037/0022-006X.59.1.12) and whether a person improved or deteriorated by more than error of measurement. Published values differ, so none is a default; `conn scales` lists them."""
    sd: Positive | None = None
    """Standard deviation that belongs to `reliability`. Empty: that of the scores at baseline."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        known = KINDS.get(str(data.get("kind"))) if isinstance(data, dict) else None
        if known is None:
            return data
        taken = {"direction": known.direction, "minimum": known.minimum, "maximum": known.maximum}
        return taken | data

    @model_validator(mode="after")
    def _one(self) -> Scale:
        if (self.column is None) == (not self.columns):
            raise ValueError("give either column (long table) or columns (wide table)")
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum:g} must be below maximum {self.maximum:g}")
        if self.sd is not None and self.reliability is None:
            raise ValueError("sd goes with reliability; give both")
        return self


class Variable(Section):
    """A property of a person, from any of the tables."""

    column: str
    """The column."""
    kind: Literal["number", "category"] = "number"
    """A number, or a name."""
    levels: dict[str, str] = {}
    """Rename levels, as in `m: male`. When given, any other value is an error."""


class Response(Section):
    """Who counts as a responder."""

    scale: Name
    """The score."""
    percent: Annotated[float, Field(gt=0, le=100)] = 50.0
    """Improvement from baseline to endpoint, in percent of baseline, from which a person is a responder."""
    at: Label | None = None
    """Time point at which response is judged. Empty: `clinical.endpoint`."""
    missing: Literal["exclude", "nonresponder"] = "exclude"
    """What becomes of people with a score at baseline and none at the endpoint: left out, or counted as nonresponders, as trials often do. They are told either way."""


class Remission(Section):
    """Who counts as remitted."""

    scale: Name
    """The score."""
    threshold: float
    """Remitted when the endpoint score is this or better. Sources differ; `conn scales` lists the thresholds in use."""
    source: str | None = None
    """Where the threshold comes from: a DOI, or words. It is printed with the rule."""
    at: Label | None = None
    """Time point at which remission is judged. Empty: `clinical.endpoint`."""
    missing: Literal["exclude", "not_remitted"] = "exclude"
    """What becomes of people with a score at baseline and none at the endpoint: left out, or counted as not remitted. They are told either way."""


class Clinical(Section):
    """Clinical tables and what is made of them."""

    tables: tuple[ClinicalTable, ...] = (ClinicalTable(),)
    """Tables to read, later ones add columns."""
    missing_codes: tuple[str, ...] = ()
    """Cell texts that mean missing, beside `n/a`."""
    baseline: Label | None = None
    """Time point that change is counted from."""
    endpoint: Label | None = None
    """Time point that response and remission are judged at."""
    scales: dict[Name, Scale] = {}
    """Clinical scores."""
    response: Response | None = None
    """Rule for the variable `response` (`responder`, `nonresponder`)."""
    remission: Remission | None = None
    """Rule for the variable `remission` (`remitted`, `not_remitted`)."""
    improbable_sd: Positive = 5.0
    """A change from baseline that lies farther than this many robust standard deviations from the median change is told as improbable. Nothing is changed or left out for it."""
    variables: dict[Name, Variable] = {}
    """Arm, group, sequence, site, age, sex …: everything that models may refer to by name."""

    @model_validator(mode="after")
    def _rules(self) -> Clinical:
        for key, rule in (("response", self.response), ("remission", self.remission)):
            if rule is None:
                continue
            if rule.scale not in self.scales:
                raise ValueError(
                    f"{key}.scale {rule.scale!r} is none of scales: {', '.join(self.scales) or 'none'}"
                )
            from_baseline = key == "response" or rule.missing != "exclude"
            if self.point_of(rule) is None or (from_baseline and self.baseline is None):
                raise ValueError(f"{key} needs clinical.baseline and clinical.endpoint")
        reserved = {"response", "remission", "mean_fd", "df", *self.scales} & set(self.variables)
        if reserved:
            raise ValueError(f"the name {sorted(reserved)[0]!r} is taken; call the variable something else")
        return self

    @property
    def rules(self) -> tuple[Response | Remission, ...]:
        """Rules that are set."""
        return tuple(rule for rule in (self.response, self.remission) if rule is not None)

    def point_of(self, rule: Response | Remission) -> str | None:
        """Time point at which a rule is judged."""
        return rule.at or self.endpoint
