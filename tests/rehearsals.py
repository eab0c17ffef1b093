"""Dress rehearsals of the three open data sets with their shipped configurations, whole and reduced."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from conn.config.load import to_yaml
from conn.simulate import rehearse
from conn.simulate.rehearsal_effects import plan_for

EXAMPLES = Path(__file__).parents[1] / "config" / "examples"
NUMBERS: Mapping[str, Mapping[str, Any]] = {
    "associations": {"resamples": 100},
    "mediation": {"bootstrap": 1000},
    "prediction": {"permutations": 200, "repeats": 1, "folds": 4, "inner_folds": 3, "learning_curve": []},
}
"""The smallest numbers of draws that options allow, or nearly so, and folds for few people."""

VOXEL_MM = 6.0
"""Coarser voxels dilute the planted effects until they cannot be reached."""


@dataclass(frozen=True)
class Rehearsal:
    """What is made of a data set.

    Attributes
    ----------
    name
        Of the data set, its folders and its example.
    subjects
        Labels; all when empty.
    sessions
        All when empty.
    volumes
        Of a run; None for what the data set states.
    derivatives
        Whether names of real derivatives are known.
    changes
        More of the configuration: analyses to add to each section.
    """

    name: str
    subjects: Sequence[str] = ()
    sessions: Sequence[str] = ()
    volumes: int | None = None
    derivatives: bool = True
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def make(self, shared: Path, folder: Path) -> Path:
        """Write images, tables and configuration; the path of the configuration."""
        skeleton = shared / "openneuro" / self.name
        plan = plan_for(skeleton)
        rehearse(
            folder / self.name,
            skeleton,
            shared / "fmriprep" / f"{self.name}-fmriprep" if self.derivatives else None,
            voxel_mm=VOXEL_MM,
            volumes=self.volumes,
            runs=self.runs(skeleton),
            edges=plan.edges,
            effects=plan.effects,
            workers=1,
        )
        path = folder / "conn.yaml"
        path.write_text(to_yaml(self.settings()), encoding="utf-8")
        return path

    def runs(self, skeleton: Path) -> list[str]:
        """Names of the runs that are made."""
        lines = gzip.decompress((skeleton / "FILES.txt.gz").read_bytes()).decode().splitlines()
        found = [re.search(r"([^/]*task-rest[^/]*)_bold\.nii\.gz$", line) for line in lines]
        names = [match[1] for match in found if match]
        if self.subjects:
            names = [name for name in names if name.split("_")[0].removeprefix("sub-") in self.subjects]
        if self.sessions:
            names = [name for name in names if re.search(rf"_ses-({'|'.join(self.sessions)})_", name)]
        return names

    def settings(self) -> dict[str, Any]:
        """The example with other paths, few draws, and what `changes` adds."""
        found: dict[str, Any] = YAML(typ="safe", pure=True).load(EXAMPLES / f"{self.name}.yaml")
        (dataset,) = found["datasets"].values()
        dataset |= {"bids_dir": self.name, "derivatives": f"{self.name}/derivatives/fmriprep"}
        if self.subjects:
            dataset["subjects"] = list(self.subjects)
        if self.sessions:
            times = dataset["time_points"]
            times["labels"] = {label: times["labels"][label] for label in self.sessions}
        found["inference"] = {"permutations": 99}
        found["report"]["truth"] = f"{self.name}/truth.json"
        for section, more in self.changes.items():
            found[section] = {**found.get(section, {}), **more}
        for section, numbers in NUMBERS.items():
            if section in found:
                found[section] = {name: {**one, **numbers} for name, one in found[section].items()}
        return found


ARMS: Mapping[str, Any] = {"arm": "group", "levels": ["depr_cbt", "depr_no_treatment"]}
SCANS: Mapping[str, Any] = {"before": "pre", "after": "post", "edges": "amygdalaTargets"}
FEW: Mapping[str, Mapping[str, Any]] = {
    "associations": {
        "few": {**SCANS, "scales": ["MADRS.change"], "subset": {"group": ["depr_no_treatment"]}}
    },
    "mediation": {"few": {**SCANS, **ARMS, "outcome": "MADRS", "randomised": False}},
    "prediction": {"few": {"at": "pre", "outcome": "MADRS.post", "edges": "amygdalaTargets"}},
}
"""What MADRS of ds003007 is too seldom there for: nobody untreated has it."""


def labels(prefix: str, numbers: Iterable[int], width: int) -> list[str]:
    """Labels of subjects by number."""
    return [f"{prefix}{number:0{width}d}" for number in numbers]


REDUCED = {
    # Six without treatment, all with behavioural therapy, three with neurofeedback.
    "ds003007": Rehearsal(
        "ds003007",
        labels("", [*range(3, 9), 16, 17, 18, 19, 20, 23, 24, 25, 21, 22, 26], 2),
        changes={**FEW, "connectivity": {"seeds": ["PAG"]}},
    ),
    # Eleven patients, the first of whom lacks d2, and two controls; seven had ketamine first.
    "ds005917": Rehearsal(
        "ds005917",
        labels("MOA", [113, 104, 105, 107, 110, 115, 108, 109, 114, 116, 123, 301, 303], 3),
        ("b0", "d2", "p2"),
        volumes=150,
        derivatives=False,
        changes={"connectivity": {"seeds": ["PAG"]}},
    ),
    # Placebo: ten responders and ten others over both studies; duloxetine: five and five; six controls.
    "ds000208": Rehearsal(
        "ds000208",
        labels("", [22, 25, 27, 28, 30, 21, 23, 24, 26, 29], 2)
        + labels("", [45, 46, 54, 55, 58, 38, 43, 44, 53, 56, 39, 41, 42, 47, 51, 40, 48, 49, 50, 57], 2)
        + labels("", range(1, 7), 2),
        volumes=150,
        changes={"connectivity": {"seeds": ["thalamusMDL"]}},
    ),
}
"""People such that every analysis of the examples has enough."""

WHOLE = {
    "ds003007": Rehearsal("ds003007", changes=FEW),
    "ds005917": Rehearsal("ds005917", derivatives=False),
    "ds000208": Rehearsal("ds000208", volumes=200),
}
"""Everybody. How many volumes a run of ds000208 has is stated nowhere."""
