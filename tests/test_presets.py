"""Designs of studies that `conn init --preset` writes."""

import re
from pathlib import Path

import numpy as np
import pytest

from conn import not_done, paths, presets
from conn.cli import main
from conn.config import load
from conn.config.checks import check
from conn.errors import ConfigError
from conn.tables import read_tsv
from line import clinic, group, inside
from preset_people import EFFECT, planted, study_of

DATA = """
datasets:
  trial: {bids_dir: data}
"""
SCALE = "{columns: {pre: a, post: b, placebo: c, drug: d}}"
CLINICAL = f"""
clinical:
  baseline: FIRST
  endpoint: LAST
  scales: {{HDRS: {SCALE}, MADRS: {SCALE}, SHAPS: {SCALE}, TEPS: {SCALE}, pain: {SCALE}}}
  response: {{scale: MADRS, percent: 50}}
  variables:
    arm: {{column: arm, kind: category}}
    sequence: {{column: order, kind: category}}
    diagnosis: {{column: diagnosis, kind: category}}
    anxious: {{column: anxious, kind: category}}
    age: {{column: age}}
    sex: {{column: sex, kind: category}}
"""


def _written(tmp_path: Path, name: str) -> Path:
    """The preset with a data set and all names that presets ask for."""
    ends = ("placebo", "drug") if name == "cingulateCrossover" else ("pre", "post")
    clinical = CLINICAL.replace("FIRST", ends[0]).replace("LAST", ends[1])
    path = tmp_path / f"{name}.yaml"
    path.write_text(DATA + clinical + presets.preset(name).text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_a_configuration_once_a_data_set_is_there(tmp_path, name):
    path = _written(tmp_path, name)
    config = load(path)
    check(config, path)
    assert config.models
    assert config.associations or config.prediction


def test_the_two_trials_of_a_preset_are_compared_once_both_are_named(tmp_path):
    path = _written(tmp_path, "thalamoCorticoPAG")
    text = path.read_text(encoding="utf-8").replace(
        "{bids_dir: data}", "{bids_dir: data}\n  other: {bids_dir: b}"
    )
    path.write_text(re.sub("^#(replication:|  bothTrials)", r"\1", text, flags=re.M), encoding="utf-8")
    config = load(path)
    check(config, path)
    assert config.replication["bothTrials"].model in config.models


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_says_what_it_is_and_needs(name):
    one = presets.preset(name)
    assert "10." in one.about or name == "plasticity"
    assert one.needs.startswith("time points")
    assert one.needs.endswith(".")


def test_the_list_names_all_presets(capsys):
    assert main(["presets"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name}\n" in said for name in presets.names())
    assert "Needs: time points pre and post" in said


def test_an_unknown_preset_has_a_suggestion():
    with pytest.raises(ConfigError, match=r"plasticty: is unknown\. Did you mean 'plasticity'"):
        presets.preset("plasticty")


def test_init_writes_the_data_set_and_the_design(tmp_path, capsys):
    for subject in ("01", "02"):
        folder = tmp_path / "trial" / f"sub-{subject}" / "func"
        folder.mkdir(parents=True)
        (folder / f"sub-{subject}_task-rest_bold.nii.gz").touch()
    output = tmp_path / "conn.yaml"
    assert main(["init", str(tmp_path / "trial"), "-o", str(output), "--preset", "plasticity"]) == 0
    text = output.read_text(encoding="utf-8")
    assert "bids_dir: trial" in text
    assert text.count("\nconnectivity:") == text.count("\nmodels:") == 1
    assert "design: parallel_arms" in text
    assert "conn lock" in text
    assert "plasticity needs: time points pre and post" in capsys.readouterr().out


@pytest.mark.truth
@pytest.mark.parametrize("name", presets.names())
def test_a_preset_runs_to_the_results_of_all_its_models_and_analyses(tmp_path, name):
    study = study_of(tmp_path, name)
    with inside(study.out):
        for model in study.config.models:
            group(study, model)
        clinic(study)
    for model in study.config.models:
        edges = read_tsv(study.out / paths.edges(model))
        assert (edges["p_fwe"] != "n/a").any(), model
    assert not not_done.lines(study.out, study.analyses)
    for kind, analysis in study.analyses:
        table = read_tsv(study.out / paths.analysis(kind, analysis, ".tsv"))
        assert (table["predicted" if kind == "prediction" else "p_fwe"] != "n/a").any(), analysis
    model, contrast = FOUND[name]
    edges = read_tsv(study.out / paths.edges(model))
    (row,) = edges[(edges["contrast"] == contrast) & _is(edges, planted(study))].to_dict("records")
    assert float(row["p_fwe"]) <= 0.05
    assert float(row["estimate"]) == pytest.approx(EFFECT, abs=0.2)


FOUND = {
    "amygdalaResponders": ("change", "change"),
    "cingulateCrossover": ("drug", "treatment"),
    "descendingModulation": ("armByTime", "adjusted"),
    "plasticity": ("armByTime", "adjusted"),
    "thalamoCorticoPAG": ("armByTime", "adjusted"),
}
"""Model and contrast of each preset that an effect of treatment on its first edge is."""


def _is(edges, pair):
    return np.array([{a, b} == set(pair) for a, b in zip(edges["roi_a"], edges["roi_b"], strict=True)])
