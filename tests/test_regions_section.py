"""The section of the report on regions: what it warns of, and its tables."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from conn.config.model import Config
from conn.report import regions_section as section
from conn.report import roi_figures
from conn.rois import registry
from conn.stages.audit import PAIRS


def outputs(rois: dict, *, small: tuple[str, ...] = (), pairs=(), **connectivity) -> SimpleNamespace:
    config = Config.model_validate(
        {"datasets": {"d": {"bids_dir": "."}}, "rois": rois, "connectivity": {"seeds": (), **connectivity}}
    )
    table = pd.DataFrame(pairs, columns=pd.Index(PAIRS))
    return SimpleNamespace(config=config, sub_voxel=list(small), roi_pairs=table, roi_table=pd.DataFrame())


def said(*args, **kwargs) -> str:
    return " ".join(section.warnings(outputs(*args, **kwargs)))


def test_only_what_applies_is_said():
    plain = said({"use": ("insula",)})
    assert plain == "Voxels at the edge of a region count by the share of their volume that lies in it."
    assert "when their centre lies in it" in said({"use": ("insula",), "weighting": "centre"})
    assert "0.3 or more" in said({"use": ("insula",), "grey_matter": 0.3})
    assert "fourthVentricle was removed" in said({"use": ("insula",)}, nuisance_regions=("fourthVentricle",))


def test_regions_of_the_brainstem_small_ones_and_selected_ones_are_named():
    words = said({"use": ("PAG", "LC", "insula")}, small=("LCL", "LCR"))
    assert "Smaller than a voxel: LCL and LCR" in words
    assert "In the brainstem: PAG, LCL and LCR." in words and "Heartbeat and breathing" in words
    peak = {"peak": "map.nii.gz", "radius_mm": 5, "space": "MNI152NLin6Asym"}
    assert "Placed at the peak of a group map: hot." in said({"use": (), "custom": {"hot": peak}})


def test_pairs_that_touch_are_counted_and_those_that_share_most_come_first():
    rows = [
        ("a", "b", 10.0, 0.1, 0.0, "yes", 0.4, 0.1, 5),
        ("c", "d", 90.0, 0.6, 0.0, "yes", np.nan, np.nan, 0),
        ("e", "f", 0.0, 0.0, 8.0, "no", 0.2, 0.1, 5),
    ]
    made = outputs({"use": ("insula",)}, pairs=rows)
    assert "2 pairs of regions share volume or touch" in " ".join(section.warnings(made))
    table = section.pairs(made)
    assert [row.cells[2] for row in table.rows] == ["60 %", "10 %"]
    assert table.rows[0].cells[-1] == "n/a"
    assert section.pairs(outputs({"use": ("insula",)}, pairs=rows[2:])) is None


def test_subdivisions_and_both_sides_near_the_midline_share_a_panel_and_lateral_regions_do_not(tmp_path):
    labels = registry.expand(("amygdalaLB", "amygdalaCM", "insula", "thalamusMD"))
    panels = section.panels_of([registry.registered(label) for label in labels], tmp_path)
    together = [tuple(one.label for one in panel.regions) for panel in panels]
    assert ("amygdalaLBL", "amygdalaCML") in together and ("amygdalaLBR", "amygdalaCMR") in together
    assert ("thalamusMDL", "thalamusMDR") in together and ("insulaL",) in together
    both = next(panel for panel in panels if panel.regions[0].label == "thalamusMDL")
    x, _, z = roi_figures.middle_of(both)
    assert (x, z) == (-5.8, 7.0), "the sagittal view goes through the first, the others between both"
