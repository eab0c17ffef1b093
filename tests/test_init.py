"""`conn init`: what stands in the data set stands in the file, and the file is a valid configuration."""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from conn.bids import parse
from conn.cohort import build_cohort, read_clinical
from conn.config.checks import check
from conn.config.load import load
from conn.config.model import Config
from conn.errors import ConfigError
from conn.index import build_index
from conn.init import trial_order, write_configuration
from conn.simulate.layout import run_files
from conn.stages.collect import run_table

SPACE = "MNI152NLin2009cAsym"


def grow(root: Path, paths: Iterable[str]) -> None:
    """A tree of empty files."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def table(path: Path, text: str) -> None:
    """A table whose cells are written with blanks between them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(line.split()) for line in text.strip().splitlines()) + "\n")


def run(
    subject: str, session: str | None = None, task: str = "rest", space: str = f"space-{SPACE}"
) -> list[str]:
    prefix = f"sub-{subject}" + (f"_ses-{session}" if session else "") + f"_task-{task}"
    folder = f"sub-{subject}/" + (f"ses-{session}/" if session else "") + "func"
    return [
        f"{folder}/{prefix}_{space}_desc-preproc_bold.nii.gz",
        f"{folder}/{prefix}_{space}_desc-brain_mask.nii.gz",
        f"{folder}/{prefix}_desc-confounds_timeseries.tsv",
    ]


def study(root: Path, subjects: str = "01 02 03 04", sessions: str = "pre post") -> Path:
    """A small trial in `root`/raw."""
    raw = root / "raw"
    for subject in subjects.split():
        for session in sessions.split() or [None]:
            grow(raw / "derivatives/fmriprep", run(subject, session))
    return raw


def written(raw: Path, derivatives: Path | None = None) -> tuple[str, str, Config]:
    """The summary, the file, and the configuration that it holds, checked."""
    output = raw.parent / "conn.yaml"
    output.unlink(missing_ok=True)
    said = write_configuration(raw, derivatives, output)
    config = load(output)
    check(config, output)
    return said, output.read_text(), config


def taken_up(path: Path) -> Config:
    """The configuration with all its suggestions used."""
    text = re.sub(r"(?m)^(\s*)#(?=[A-Za-z])", r"\1", path.read_text())
    other = path.with_name("all.yaml")
    other.write_text(text)
    config = load(other)
    check(config, other)
    return config


def cohort_of(config: Config, root: Path, name: str):
    """The cohort that the configuration leads to."""
    index = build_index(config, root)
    found = [r.subject for r in index.runs]
    data = {name: read_clinical(root / config.datasets[name].bids_dir, config.clinical, found)}
    points = {name: {k: list(v) for k, v in config.datasets[name].time_points.labels.items()}}
    return build_cohort(config.clinical, data, run_table(index.runs, {}), points)


def test_a_trial_with_two_sessions_becomes_a_paired_model(tmp_path):
    raw = study(tmp_path)
    table(raw / "participants.tsv", "participant_id arm sex age\nsub-01 drug F 30\nsub-02 sham M 41")
    said, text, config = written(raw)
    dataset = config.datasets["raw"]
    assert (dataset.task, dataset.space, dataset.res) == ("rest", SPACE, None)
    assert list(dataset.time_points.labels) == ["pre", "post"]
    model = config.models["change"]
    assert (model.design, model.before, model.after) == ("paired", "pre", "post")
    assert "pre (4), post (4)" in said
    path = tmp_path / "conn.yaml"
    assert said.endswith(f"then conn check {path}; before there are results, conn lock {path}")
    assert "# conn lock writes models and contrasts down" in text
    assert "drug 1, sham 1" in text


def test_an_existing_file_is_never_overwritten(tmp_path):
    raw = study(tmp_path)
    (tmp_path / "conn.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=r"conn\.yaml: the file is there already"):
        write_configuration(raw, None, tmp_path / "conn.yaml")
    assert (tmp_path / "conn.yaml").read_text() == "mine"


def test_folders_that_are_not_data_sets_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        write_configuration(tmp_path / "nowhere", None, tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match=r"no sub-\* folder"):
        write_configuration(tmp_path, None, tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match="--derivatives"):
        write_configuration(study(tmp_path), tmp_path / "nowhere", tmp_path / "a.yaml")
    assert not (tmp_path / "a.yaml").exists()


def test_paths_in_the_file_are_relative_to_the_file(tmp_path):
    raw = study(tmp_path / "my data")
    output = tmp_path / "studies" / "one" / "conn.yaml"
    write_configuration(raw, None, output)
    dataset = load(output).datasets["raw"]
    assert dataset.bids_dir == "../../my data/raw"
    assert len(build_index(load(output), output.parent).runs) == 8


def test_time_points_stand_in_the_order_of_a_trial():
    order = sorted(["post", "d10", "fu6", "pre", "d2", "followup", "01"], key=trial_order)
    assert order == ["pre", "01", "d2", "d10", "post", "followup", "fu6"]
    assert sorted(["ketamine", "placebo"], key=trial_order) == ["placebo", "ketamine"]


def test_sessions_with_numbers_get_names_that_begin_with_a_letter(tmp_path):
    _, text, config = written(study(tmp_path, sessions="01 02 10"))
    assert config.datasets["raw"].time_points.labels == {"ses01": ("01",), "ses02": ("02",), "ses10": ("10",)}
    assert "ses01: ['01']" in text


def test_rest_is_preferred_and_other_tasks_are_named(tmp_path):
    raw = study(tmp_path)
    for subject in ("01", "02", "03", "04", "05", "06"):
        grow(raw / "derivatives/fmriprep", run(subject, "pre", task="nback"))
    _, text, config = written(raw)
    assert config.datasets["raw"].task == "rest"
    assert "nback 6, rest 8" in text


def test_without_rest_the_commonest_task_is_taken_and_rest1_rest2_are_taken_together(tmp_path):
    one, two = tmp_path / "a" / "raw", tmp_path / "b" / "raw"
    grow(
        one / "derivatives/fmriprep",
        [*run("01", task="nback"), *run("02", task="nback"), *run("01", task="x")],
    )
    grow(
        two / "derivatives/fmriprep",
        [*run("01", task="rest1"), *run("01", task="rest2"), *run("01", task="x")],
    )
    assert written(one)[2].datasets["raw"].task == "nback"
    assert written(two)[2].datasets["raw"].task == ("rest1", "rest2")


def test_several_resolutions_are_named_and_one_is_chosen(tmp_path):
    raw = study(tmp_path)
    for subject in ("01", "02", "03", "04"):
        for session in ("pre", "post"):
            grow(raw / "derivatives/fmriprep", run(subject, session, space=f"space-{SPACE}_res-2"))
    _, text, config = written(raw)
    assert config.datasets["raw"].res == "2"
    assert "2 8, native 8" in text
    assert all("res-2" in str(r.bold) for r in build_index(config, tmp_path).runs)


def test_another_space_is_found_and_said_when_the_registry_does_not_fit(tmp_path):
    raw = tmp_path / "raw"
    grow(
        raw / "derivatives/fmriprep",
        [*run("01", space="space-MNIPediatricAsym_cohort-2"), *run("01", space="space-T1w")],
    )
    _, text, config = written(raw)
    assert config.datasets["raw"].space == "MNIPediatricAsym"
    assert "give your own regions" in text


def test_derivatives_elsewhere_are_found_by_what_made_them(tmp_path):
    raw = study(tmp_path)
    (raw / "derivatives/fmriprep").rename(raw / "derivatives/fmriprep-24.1.1")
    assert written(raw)[2].datasets["raw"].derivatives == "raw/derivatives/fmriprep-24.1.1"
    (raw / "derivatives/fmriprep-24.1.1").rename(tmp_path / "preprocessed")
    assert written(raw, tmp_path / "preprocessed")[2].datasets["raw"].derivatives == "preprocessed"


def test_raw_data_alone_give_a_file_and_the_advice_to_preprocess(tmp_path):
    raw = tmp_path / "raw"
    grow(
        raw,
        [f"sub-0{n}/ses-{s}/func/sub-0{n}_ses-{s}_task-rest_bold.nii.gz" for n in (1, 2) for s in ("b", "a")],
    )
    said, text, config = written(raw)
    assert "run fMRIPrep" in said
    assert "#derivatives:" in text
    assert list(config.datasets["raw"].time_points.labels) == ["a", "b"]


def test_minimal_derivatives_are_called_what_they_are(tmp_path):
    raw = tmp_path / "raw"
    grow(raw, ["sub-01/func/sub-01_task-rest_bold.nii.gz"])
    grow(raw / "derivatives/fmriprep", ["sub-01/func/sub-01_task-rest_desc-hmc_boldref.nii.gz"])
    assert "no preprocessed images" in written(raw)[0]


def test_wide_columns_are_grouped_into_scales_however_they_are_spelt(tmp_path):
    raw = study(tmp_path)
    table(
        raw / "participants.tsv",
        """participant_id MADRS_ses-pre MADRS_ses-post BDI.pre BDI.post post_VAS-pain pre_VAS-pain age
        sub-01 30 12 20 n/a 3 7.5 33
        sub-02 28 25 n/a 11 4 8 34""",
    )
    _, text, config = written(raw)
    scales = config.clinical.scales
    assert scales["MADRS"].columns == {"pre": "MADRS_ses-pre", "post": "MADRS_ses-post"}
    assert scales["BDI"].columns == {"pre": "BDI.pre", "post": "BDI.post"}
    assert scales["VAS_pain"].columns == {"pre": "pre_VAS-pain", "post": "post_VAS-pain"}
    assert "BDI:  # people with a score: pre 1, post 1" in text
    assert (config.clinical.baseline, config.clinical.endpoint) == ("pre", "post")
    assert taken_up(tmp_path / "conn.yaml").clinical.response.scale == "MADRS"


def test_a_score_after_the_last_scan_keeps_its_time_point(tmp_path):
    raw = study(tmp_path)
    table(
        raw / "participants.tsv",
        "participant_id MADRS_ses-pre MADRS_ses-followup MADRS_ses-post\nsub-01 30 12 20\nsub-02 31 13 22",
    )
    columns = written(raw)[2].clinical.scales["MADRS"].columns
    assert list(columns) == ["pre", "post", "followup"]


def test_long_tables_with_sessions_become_scales(tmp_path):
    raw = study(tmp_path)
    table(raw / "participants.tsv", "participant_id sex\n01 F\n02 M\n03 F\n04 M")
    table(
        raw / "phenotype" / "hamd.tsv",
        """participant_id session_id HAMD mood
        sub-01 ses-pre 20 low
        sub-01 ses-post 11 high
        sub-02 ses-pre 22 low""",
    )
    table(raw / "sub-01" / "sub-01_sessions.tsv", "session_id acq_time SHAPS\nses-pre n/a 4\nses-post n/a 2")
    _, text, config = written(raw)
    assert [t.path for t in config.clinical.tables] == [
        "participants.tsv",
        "phenotype/hamd.tsv",
        "sub-{subject}/sub-{subject}_sessions.tsv",
    ]
    assert {n: s.column for n, s in config.clinical.scales.items()} == {"HAMD": "HAMD", "SHAPS": "SHAPS"}
    assert "neither number nor category of a person: mood" in text
    made = cohort_of(config, tmp_path, "raw").table
    chosen = made[(made["subject"] == "01") & (made["time_point"] == "post")].iloc[0]
    assert (chosen["HAMD_change"], chosen["SHAPS"]) == ("-9", "2")


def test_numbers_and_categories_are_told_apart_and_their_levels_shown(tmp_path):
    raw = study(tmp_path)
    table(
        raw / "participants.tsv",
        """participant_id group sex site age handedness IQ note
        sub-01 1 F 1 30 R 100 a
        sub-02 2 M 1 31 L NA b
        sub-03 2 M 2 NA R 99 c
        sub-04 1 n/a 2 40 R 98 d""",
    )
    _, text, config = written(raw)
    kinds = {name: variable.kind for name, variable in config.clinical.variables.items()}
    assert kinds == {"group": "category", "sex": "category", "site": "category", "age": "number"}
    assert config.clinical.missing_codes == ("NA",)
    assert "sex: {column: sex, kind: category}  # M 2, F 1" in text
    assert "#handedness: {column: handedness, kind: category}  # R 3, L 1" in text
    assert "#IQ: {column: IQ}  # 98 to 100, 3 subjects" in text
    assert set(cohort_of(config, tmp_path, "raw").table["age"]) == {"30", "31", "n/a", "40"}


def test_names_that_would_clash_or_break_yaml_are_made_safe(tmp_path):
    raw = study(tmp_path, sessions="")
    columns = ["participant_id", "Response", "% gain: #1", "sub ject", "no", "BDI", "it's"]
    rows = ["\t".join(columns), "sub-01\t1\t2\ta\t3\t4\tb", "sub-02\t0\t2.5\tb\t3\t4\ta"]
    raw.joinpath("participants.tsv").write_text("\n".join(rows) + "\n")
    written(raw)
    variables = taken_up(tmp_path / "conn.yaml").clinical.variables
    assert {name: variable.column for name, variable in variables.items()} == {
        "Response_recorded": "Response",
        "gain_1": "% gain: #1",
        "sub_ject": "sub ject",
        "no": "no",
        "BDI": "BDI",
        "it_s": "it's",
    }


def test_a_damaged_table_is_left_out_and_said(tmp_path):
    raw = study(tmp_path)
    table(raw / "participants.tsv", "participant_id sex\nsub-01 F")
    table(raw / "phenotype" / "bad.tsv", "participant_id a a\nsub-01 1 2")
    table(raw / "phenotype" / "visits.tsv", "participant_id score\nsub-01 1\nsub-01 2")
    said, text, config = written(raw)
    assert [t.path for t in config.clinical.tables] == ["participants.tsv"]
    assert "column 'a' occurs 2 times" in said
    assert "phenotype/visits.tsv: sub-01 has several rows" in text
    assert str(tmp_path) not in text


def test_other_names_of_id_and_session_columns_are_found(tmp_path):
    raw = study(tmp_path)
    table(raw / "phenotype" / "m.tsv", "subject visit MADRS\n01 pre 30\n01 post 20\n02 pre 31\n02 post 9")
    config = written(raw)[2]
    (only,) = config.clinical.tables
    assert (only.id_column, only.session_column) == ("subject", "visit")
    assert config.clinical.scales["MADRS"].column == "MADRS"
    assert "9" in set(cohort_of(config, tmp_path, "raw").table["MADRS"])


def test_two_groups_at_one_time_point_become_a_two_sample_model(tmp_path):
    raw = study(tmp_path, subjects="01 02 03 04 05 06 07", sessions="")
    rows = "\n".join(f"sub-0{n} {'control' if n > 3 else 'patient'}" for n in range(1, 8))
    table(raw / "participants.tsv", f"participant_id group\n{rows}")
    model = written(raw)[2].models["groups"]
    assert (model.design, model.at, model.levels) == ("two_sample", "all", ("patient", "control"))


def test_without_groups_or_sessions_there_is_no_model(tmp_path):
    assert written(study(tmp_path, sessions=""))[2].models == {}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    from dataclasses import replace

    from conn.simulate import demo_spec, simulate_cohort

    out = tmp_path_factory.mktemp("simulated") / "trial"
    spec = replace(
        demo_spec(4), volumes=120, voxel_mm=6.0, tr=2.5, rois=demo_spec().rois[:8], edges=(), models=()
    )
    simulate_cohort(out, spec, workers=1)
    return out


def test_a_simulated_trial_becomes_a_configuration_that_loads_and_leads_to_a_cohort(simulated):
    said, text, config = written(simulated)
    assert config.models["change"].design == "paired"
    assert set(config.clinical.variables) == {"age", "sex", "arm", "site"}
    assert len(build_index(config, simulated.parent).runs) == 8
    everything = taken_up(simulated.parent / "conn.yaml")
    assert everything.models["armbytime"].levels == ("drug", "placebo")
    assert everything.models["slope"].predictor == "MADRS.change"
    assert len(cohort_of(everything, simulated.parent, "trial").table) == 8
    assert "cleaning:" in said
    assert "Degrees of freedom (k) of 8 runs looked at" in text


def test_the_proposed_strategy_keeps_enough_or_the_file_says_that_none_does(simulated):
    from conn.config.model import Denoise
    from conn.init import _left

    _, text, config = written(simulated)
    runs = build_index(config, simulated.parent).runs
    choice = config.denoise.strategy, config.denoise.low_pass is not None
    roots = (simulated / "derivatives" / "fmriprep", simulated)
    good = [_left(run, roots, Denoise())[choice][1] for run in runs]
    assert sum(good) >= 0.9 * len(good) or "None keeps 90 %" in text


# ------------------------------------------------------------------------------- layouts of real data sets


def skeleton(shared: Path, name: str, out: Path) -> Path:
    """Tables of a real data set and empty files in place of its images and derivatives."""
    source, root = shared / "openneuro" / name, out / name
    for path in source.rglob("*"):
        if path.suffix in {".tsv", ".json"}:
            target = root / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    with gzip.open(source / "FILES.txt.gz", "rt") as stream:
        images = [line.strip() for line in stream if line.strip().endswith("_bold.nii.gz")]
    grow(root, images)
    listing = shared / "fmriprep" / f"{name}-fmriprep" / "FILES.txt.gz"
    if listing.is_file():
        with gzip.open(listing, "rt") as stream:
            done = [line.strip() for line in stream if line.startswith("sub-") and "/func/" in line]
    else:
        names = [run_files(dict(parse(Path(i).name).entities), SPACE, "2") for i in images]
        done = [str(p) for files in names for p in (files.bold, files.mask, files.confounds)]
    grow(root / "derivatives" / "fmriprep", done)
    return root


@pytest.mark.parametrize("name", ["ds003007", "ds005917", "ds000208"])
def test_real_layouts_become_configurations_that_lead_to_a_cohort(name, shared_data, tmp_path):
    _, _, config = written(skeleton(shared_data, name, tmp_path))
    everything = taken_up(tmp_path / "conn.yaml")
    for one in (config, everything):
        made = cohort_of(one, tmp_path, name)
        assert set(made.table["subject"]) == {r.subject for r in build_index(one, tmp_path).runs}


def test_the_neurofeedback_trial_is_read_as_three_arms_before_and_after(shared_data, tmp_path):
    _, text, config = written(skeleton(shared_data, "ds003007", tmp_path))
    assert list(config.datasets["ds003007"].time_points.labels) == ["pre", "post"]
    assert {"MADRS", "BDI", "Zung_SDS", "RRS_sum"} <= set(config.clinical.scales)
    assert "group: {column: group, kind: category}  # depr_no_treatment 15, depr_cbt 8, depr_nfb 6" in text
    assert taken_up(tmp_path / "conn.yaml").clinical.response.scale == "BDI"
    assert "25 people have BDI at pre and at post" in text


def test_the_ketamine_crossover_is_read_from_its_long_table(shared_data, tmp_path):
    config = written(skeleton(shared_data, "ds005917", tmp_path))[2]
    assert list(config.datasets["ds005917"].time_points.labels) == ["b0", "d2", "d10", "p2", "p10"]
    assert config.clinical.scales["MADRS_Total"].column == "MADRS_Total"
    assert (config.clinical.baseline, config.clinical.endpoint) == ("b0", "d2")


def test_the_duloxetine_study_is_read_as_two_arms_at_one_time_point(shared_data, tmp_path):
    config = written(skeleton(shared_data, "ds000208", tmp_path))[2]
    model = config.models["groups"]
    assert (model.group, model.levels, model.at) == ("Drug", ("duloxetine", "placebo"), "all")
    assert config.clinical.variables["study"].kind == "category"
