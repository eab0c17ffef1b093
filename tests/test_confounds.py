"""Confounds tables and strategies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from conn.config import load, model
from conn.confounds import (
    GLOBAL_4,
    MOTION_24,
    STRATEGIES,
    TISSUE_8,
    Components,
    check_rows,
    combined_components,
    drop_short_segments,
    metadata_file,
    read_confounds,
    runnable,
    select,
)
from conn.errors import ConfigError, InputError
from conn.projection import cosines
from conn.simulate.scan import cosine_columns

REAL = (
    "confounds/nilearn_glm_bids/sub-01_ses-01_task-main_run-01_desc-confounds_timeseries.tsv",
    "confounds/nilearn_no_nonsteady/no_nonsteady_desc-confounds_regressors.tsv",
    "confounds/nilearn_test/test_desc-confounds_regressors.tsv",
    "confounds/nilearn_v21/test-v21_desc-confounds_timeseries.tsv",
    "confounds/load_confounds_old/test_desc-confounds_regressors.tsv",
    "studyforrest/derivatives/quickants/sub-02/func/sub-02_task-oneback_run-1_desc-confounds_timeseries.tsv",
)


DESCRIBED = (REAL[2], REAL[3])
"""Those with a JSON file: of version 20, where only that file tells masks apart, and of version 21."""

COMPCOR = ("compcor", "compcor+gsr", "compcor6", "compcor6+gsr")
TABLE = "sub-01_task-rest_desc-confounds_timeseries.tsv"


def made_up(volumes: int = 40, seed: int = 0, components: int = 9) -> pd.DataFrame:
    """A table with all columns, n/a where fMRIPrep has it, and no motion above 0.2 mm."""
    rng = np.random.default_rng(seed)
    found = tuple(f"a_comp_cor_{number:02d}" for number in range(components))
    names = (*MOTION_24, *TISSUE_8, *GLOBAL_4, *found)
    table = pd.DataFrame(rng.normal(size=(volumes, len(names))), columns=pd.Index(names))
    table["framewise_displacement"] = rng.uniform(0.0, 0.1, volumes)
    first = [name for name in table.columns if "derivative1" in name or name == "framewise_displacement"]
    table.loc[0, first] = np.nan
    table["cosine00"] = 1.0
    if components:
        table.attrs["components"] = Components(found, "")
    return table


def entry(mask: str | None = "combined", **changes: Any) -> dict[str, Any]:
    """What fMRIPrep writes about a component."""
    told = {"Method": "aCompCor", "Mask": mask, "Retained": True, "CumulativeVarianceExplained": 0.01}
    return {key: value for key, value in {**told, **changes}.items() if value is not None}


def written(folder: Path, table: pd.DataFrame, metadata: Any = None) -> pd.DataFrame:
    """The same table, written as files and read again; `metadata` as a text, or plain data for JSON."""
    path = folder / TABLE
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    if metadata is not None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        metadata_file(path).write_text(text, encoding="utf-8")
    return read_confounds(path)


def test_strategies_are_those_that_the_configuration_offers():
    assert set(STRATEGIES) == set(get_args(model.Strategy))


def test_strategies_have_the_published_number_of_columns():
    counts = {name: len(strategy.columns) for name, strategy in STRATEGIES.items()}
    assert counts == {
        "simple": 26, "simple+gsr": 27, "scrubbing.5": 32, "scrubbing.5+gsr": 33, "scrubbing.2": 32,
        "scrubbing.2+gsr": 33, "compcor": 24, "compcor+gsr": 25, "compcor6": 24, "compcor6+gsr": 25,
        "24P": 24, "24P+gsr": 25, "32P": 32, "36P": 36,
    }  # fmt: skip
    assert {n: s.components for n, s in STRATEGIES.items() if s.components != 0} == {
        "compcor": None, "compcor+gsr": None, "compcor6": 6, "compcor6+gsr": 6,
    }  # fmt: skip
    assert {n: s.fd_threshold for n, s in STRATEGIES.items() if s.fd_threshold} == {
        "scrubbing.5": 0.5, "scrubbing.5+gsr": 0.5, "scrubbing.2": 0.2, "scrubbing.2+gsr": 0.2,
    }  # fmt: skip


def test_no_strategy_takes_the_cosines_of_fmriprep():
    table = made_up()
    assert not any("cosine" in name for s in STRATEGIES for name in select(table, s).columns)


def test_the_empty_first_cell_becomes_the_mean_of_its_column_and_weighs_nothing():
    table = made_up()
    chosen = select(table, "36P")
    demeaned = chosen.regressors - chosen.regressors.mean(axis=0)
    empty = np.isnan(table[list(chosen.columns)].to_numpy()[0])
    assert empty.sum() == 18
    np.testing.assert_allclose(demeaned[0, empty], 0.0, atol=1e-12)
    np.testing.assert_array_equal(chosen.regressors[1:], table[list(chosen.columns)].to_numpy()[1:])
    np.testing.assert_array_equal(
        chosen.regressors[0, ~empty], table[list(chosen.columns)].to_numpy()[0, ~empty]
    )


def test_the_table_itself_is_left_alone():
    table = made_up()
    before = table.copy()
    select(table, "scrubbing.2")
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "n/a"), (np.inf, "inf")])
def test_a_missing_value_after_the_first_volume_is_an_error(value, shown):
    table = made_up()
    table.loc[7, "rot_y"] = value
    with pytest.raises(InputError, match=rf"'rot_y', volume 7 is {shown}"):
        select(table, "24P")
    table = made_up()
    table.loc[3, "framewise_displacement"] = value
    with pytest.raises(InputError, match="'framewise_displacement', volume 3"):
        select(table, "24P")


def test_motion_censors_only_where_the_strategy_says_so():
    table = made_up()
    table.loc[20, "framewise_displacement"] = 0.3
    table.loc[30, "framewise_displacement"] = 0.6
    assert not select(table, "simple").censored.any()
    assert np.flatnonzero(select(table, "scrubbing.5").censored).tolist() == [30]
    assert np.flatnonzero(select(table, "scrubbing.2+gsr").censored).tolist() == [20, 30]


def test_displacement_at_the_threshold_is_kept():
    table = made_up()
    table.loc[20, "framewise_displacement"] = 0.5
    assert not select(table, "scrubbing.5").censored.any()


def test_segments_of_four_volumes_go_and_of_five_stay():
    table = made_up()
    table.loc[[5, 10, 16, 36], "framewise_displacement"] = 1.0
    censored = np.flatnonzero(select(table, "scrubbing.5").censored)
    assert censored.tolist() == [5, 6, 7, 8, 9, 10, 16, 36, 37, 38, 39]


def test_dummy_scans_are_the_union_of_the_configuration_and_fmriprep():
    table = made_up()
    for volume in range(3):
        table[f"non_steady_state_outlier{volume:02d}"] = (np.arange(40) == volume).astype(float)
    for configured, expected in ((0, 3), (2, 3), (4, 4)):
        for strategy in STRATEGIES:
            chosen = select(table, strategy, dummy_scans=configured)
            assert np.flatnonzero(chosen.dummy).tolist() == list(range(expected))
            assert np.flatnonzero(chosen.censored).tolist() == list(range(expected))


def test_a_short_segment_after_dummy_scans_is_short():
    table = made_up()
    table.loc[6, "framewise_displacement"] = 1.0
    chosen = select(table, "scrubbing.5", dummy_scans=3)
    assert np.flatnonzero(chosen.censored).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert chosen.dummy.sum() == 3


def test_mean_displacement_leaves_out_the_first_volume_and_dummy_scans_but_not_motion():
    table = made_up()
    table["framewise_displacement"] = [0.0, 9.0, *[0.1] * 36, 1.0, 0.4]
    assert select(table, "scrubbing.5").mean_fd == pytest.approx((9.0 + 3.6 + 1.4) / 39)
    assert select(table, "scrubbing.5", dummy_scans=2).mean_fd == pytest.approx((3.6 + 1.4) / 38)


def test_nothing_but_dummy_scans_is_an_error():
    with pytest.raises(InputError, match="dummy_scans = 40"):
        select(made_up(), "simple", dummy_scans=40)


def test_rows_must_be_volumes():
    check_rows(made_up(), 40)
    with pytest.raises(InputError, match="40 rows, but the image has 41 volumes"):
        check_rows(made_up(), 41)


@pytest.mark.parametrize(
    ("strategy", "lost", "nearest"),
    [
        ("simple", "csf", "24P"),
        ("simple+gsr", "global_signal", "simple"),
        ("36P", "global_signal_power2", "32P"),
        ("scrubbing.5", "csf_power2", "simple"),
        ("scrubbing.2+gsr", "global_signal", "scrubbing.2"),
        ("24P+gsr", "white_matter", None),
    ],
)
def test_a_missing_column_is_named_with_the_nearest_strategy_that_can_run(strategy, lost, nearest):
    table = made_up(components=0).drop(columns=lost)
    if nearest is None:
        assert lost not in select(table, strategy).columns
        return
    assert strategy not in runnable(table)
    assert nearest in runnable(table)
    with pytest.raises(InputError, match=f"1 column that the table lacks: {lost}") as error:
        select(table, strategy)
    assert f"is {nearest!r}" in str(error.value)


def test_without_motion_parameters_no_strategy_can_run():
    table = made_up().drop(columns=["trans_x", "rot_z_power2"])
    assert runnable(table) == ()
    with pytest.raises(InputError, match=r"trans_x, rot_z_power2\. No strategy can run"):
        select(table, "simple")


def test_the_column_names_of_the_first_fmriprep_are_recognised():
    table = pd.DataFrame(np.zeros((9, 4)), columns=pd.Index(["X", "RotX", "FramewiseDisplacement", "CSF"]))
    with pytest.raises(InputError, match=r"fMRIPrep 1\.0 or 1\.1"):
        select(table, "simple")


def test_a_cell_that_is_no_number_is_named(tmp_path):
    path = tmp_path / "sub-01_task-rest_desc-confounds_timeseries.tsv"
    path.write_text("csf\trot_x\n1\tn/a\n2\t0,5\n")
    with pytest.raises(InputError, match=r"column 'rot_x', volume 1: '0,5' is not a number"):
        read_confounds(path)


def test_only_na_and_nothing_are_read_as_missing(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("a\tb\nn/a\t1e-3\n2\t-3\n\t4\n")
    table = read_confounds(path)
    assert table.dtypes.eq(np.float64).all()
    np.testing.assert_array_equal(table.to_numpy(), [[np.nan, 0.001], [2.0, -3.0], [np.nan, 4.0]])
    assert table.attrs["source"] == "table.tsv"
    path.write_text("a\nNA\n")
    with pytest.raises(InputError, match="'NA' is not a number"):
        read_confounds(path)


def short_segments_slowly(censored: list[bool], shortest: int) -> list[bool]:
    """Look at every volume: how long is the run of kept volumes that it is in?"""
    result = list(censored)
    if not any(censored):
        return result
    for volume, out in enumerate(censored):
        if out:
            continue
        start = stop = volume
        while start > 0 and not censored[start - 1]:
            start -= 1
        while stop < len(censored) - 1 and not censored[stop + 1]:
            stop += 1
        result[volume] = stop - start + 1 < shortest
    return result


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 7))
def test_short_segments_are_those_that_a_slow_look_finds(censored, shortest):
    fast = drop_short_segments(np.array(censored), shortest)
    assert fast.tolist() == short_segments_slowly(censored, shortest)


@pytest.mark.parametrize("file", REAL)
def test_every_strategy_runs_on_real_tables(shared_data: Path, file):
    table = read_confounds(shared_data / file)
    described = metadata_file(shared_data / file).is_file()
    expected = tuple(name for name in STRATEGIES if described or name not in COMPCOR)
    assert runnable(table) == expected
    for name in expected:
        chosen = select(table, name)
        assert np.isfinite(chosen.regressors).all()
        assert chosen.regressors.shape == (len(table), len(chosen.columns))
        assert chosen.censored.shape == (len(table),)
        assert (chosen.dummy <= chosen.censored).all()
        assert 0.0 < chosen.mean_fd < 10.0


def test_a_real_table_with_columns_missing_says_which(shared_data: Path):
    table = read_confounds(
        shared_data / "confounds/load_confounds_missing/missing_desc-confounds_regressors.tsv"
    )
    with pytest.raises(InputError, match="No strategy can run") as error:
        select(table, "simple")
    for name in ("trans_x_derivative1", "trans_y", "trans_z_derivative1_power2"):
        assert (f" {name}," in str(error.value) or f" {name}." in str(error.value)) == (
            name not in table.columns
        )


COMPONENTS = ("motion", "high_pass", "compcor")
COMBINED = {"compcor": "anat_combined", "n_compcor": "all"}
NILEARN = {
    "simple": {"strategy": ("motion", "wm_csf"), "wm_csf": "basic"},
    "simple+gsr": {"strategy": ("motion", "wm_csf", "global_signal"), "wm_csf": "basic"},
    "scrubbing.5": {"strategy": ("motion", "wm_csf", "scrub"), "wm_csf": "full", "fd_threshold": 0.5},
    "scrubbing.2": {"strategy": ("motion", "wm_csf", "scrub"), "wm_csf": "full", "fd_threshold": 0.2},
    "compcor": {"strategy": COMPONENTS, **COMBINED},
    "compcor+gsr": {"strategy": (*COMPONENTS, "global_signal"), **COMBINED},
    "compcor6": {"strategy": COMPONENTS, **COMBINED, "n_compcor": 6},
    "compcor6+gsr": {"strategy": (*COMPONENTS, "global_signal"), **COMBINED, "n_compcor": 6},
    "24P": {"strategy": ("motion",)},
    "32P": {"strategy": ("motion", "wm_csf"), "wm_csf": "full"},
    "36P": {"strategy": ("motion", "wm_csf", "global_signal"), "wm_csf": "full", "global_signal": "full"},
}  # fmt: skip


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("file", "strategy"),
    [(file, name) for file in REAL for name in NILEARN if name not in COMPCOR or file in DESCRIBED],
)
def test_columns_and_censored_volumes_are_those_of_nilearn(shared_data: Path, tmp_path, file, strategy):
    from nilearn.interfaces.fmriprep import load_confounds

    source = shared_data / file
    shutil.copy(source, tmp_path / TABLE)
    if strategy in COMPCOR:
        shutil.copy(metadata_file(source), metadata_file(tmp_path / TABLE))
    image = tmp_path / "sub-01_task-rest_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    image.touch()
    theirs, kept = load_confounds(str(image), demean=False, std_dvars_threshold=1e9, **NILEARN[strategy])
    table = read_confounds(source)
    ours = select(table, strategy)
    # They add fMRIPrep's cosines; our frequencies are in the projection.
    assert {name for name in theirs.columns if not name.startswith("cosine")} == set(ours.columns)
    assert len(set(ours.columns)) == len(ours.columns)
    np.testing.assert_allclose(ours.regressors[1:], theirs[list(ours.columns)].to_numpy()[1:], rtol=1e-12)
    censored = np.zeros(len(table), dtype=bool)
    if kept is not None:
        censored = ~np.isin(np.arange(len(table)), kept)
    if STRATEGIES[strategy].fd_threshold is not None:
        # nilearn looks at segments before it drops dummy scans: a short one behind them stays there.
        assert (censored <= ours.censored).all()
        censored = drop_short_segments(censored, 5)
    np.testing.assert_array_equal(ours.censored, censored)


def test_a_table_in_quotes_is_the_same_table(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text('"csf"\t"rot_x"\n"1.5"\tn/a\n2\t"0.25"\n')
    table = read_confounds(path)
    assert list(table.columns) == ["csf", "rot_x"]
    np.testing.assert_array_equal(table.to_numpy(), [[1.5, np.nan], [2.0, 0.25]])


# ---------------------------------------------------------------------------------------------- CompCor


def test_components_are_those_of_the_combined_mask_whatever_their_columns_are_called(tmp_path):
    table = made_up()
    masks = ["CSF", "WM", "combined", "combined", "CSF", "combined", "WM", "combined", "WM"]
    metadata = {f"a_comp_cor_{i:02d}": entry(mask) for i, mask in enumerate(masks)}
    chosen = select(written(tmp_path, table, metadata), "compcor+gsr")
    assert chosen.columns == (
        *MOTION_24, "global_signal", "a_comp_cor_02", "a_comp_cor_03", "a_comp_cor_05", "a_comp_cor_07",
    )  # fmt: skip
    np.testing.assert_allclose(chosen.regressors[:, -1], table["a_comp_cor_07"], rtol=1e-12)


def test_components_come_strongest_first_also_beyond_a_hundred():
    order = [101, 99, 7, 100, 98]
    metadata = {f"a_comp_cor_{number:02d}": entry() for number in order}
    assert combined_components(metadata) == tuple(f"a_comp_cor_{n:02d}" for n in sorted(order))


@pytest.mark.parametrize(
    "other",
    [
        {"dropped_0": entry(Retained=False)},
        {"a_comp_cor_05": entry(Retained=False)},
        {"t_comp_cor_00": entry(None, Method="tCompCor")},
        {"w_comp_cor_00": entry("WM"), "c_comp_cor_00": entry("CSF")},
        {"a_comp_cor_05": entry(Method="Mean")},
        {"csf": {"Method": "Mean"}, "a_comp_cor_05": "combined"},
    ],
)
def test_nothing_else_in_the_metadata_is_a_component(other):
    metadata = {"a_comp_cor_01": entry(), "a_comp_cor_00": entry(), **other}
    assert combined_components(metadata) == ("a_comp_cor_00", "a_comp_cor_01")


def test_a_table_with_all_components_gives_those_that_explain_half_the_variance():
    explained = np.cumsum([0.2, 0.15, 0.1, 0.06, 0.05, 0.04])
    metadata = {
        f"a_comp_cor_{number:02d}": entry(CumulativeVarianceExplained=float(share))
        for number, share in enumerate(explained)
    }
    assert combined_components(metadata) == tuple(f"a_comp_cor_{n:02d}" for n in range(4))


def test_half_the_variance_is_reached_by_the_component_that_touches_it():
    metadata = {f"a_comp_cor_0{n}": entry(CumulativeVarianceExplained=0.25 * (n + 1)) for n in range(4)}
    assert combined_components(metadata) == ("a_comp_cor_00", "a_comp_cor_01")


@pytest.mark.oracle
def test_half_the_variance_is_where_fmriprep_stopped_in_every_real_table(shared_data: Path):
    files = [*shared_data.glob("*/*/*desc-confounds*.json"), *shared_data.glob("*/*/*/*desc-confounds*.json")]
    assert len(files) > 10
    for file in files:
        metadata = json.loads(file.read_text())
        kept = [
            name
            for name, told in metadata.items()
            if told.get("Mask") == "combined" and not name.startswith("dropped")
        ]
        assert list(combined_components(metadata)) == kept, file.name
        assert 4 < len(kept) < 60


def test_six_components_are_at_most_six(tmp_path):
    six, three = made_up(components=9), made_up(components=3)
    assert select(six, "compcor6").columns[24:] == tuple(f"a_comp_cor_0{n}" for n in range(6))
    assert len(select(six, "compcor").columns) == 33
    assert select(three, "compcor6").columns == select(three, "compcor").columns
    assert len(select(three, "compcor6+gsr").columns) == 28


def test_non_steady_state_volumes_of_components_are_censored():
    table = made_up()
    components = [name for name in table.columns if name.startswith("a_comp_cor")]
    table.loc[:2, components] = 0.0
    for volume in range(3):
        table[f"non_steady_state_outlier{volume:02d}"] = (np.arange(40) == volume).astype(float)
    chosen = select(table, "compcor")
    assert np.flatnonzero(chosen.censored).tolist() == [0, 1, 2]
    assert (chosen.regressors[:3, 24:] == 0.0).all()


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        (None, "timeseries.json, which fMRIPrep writes beside the table, is not there"),
        ("{'a':", "timeseries.json is not JSON"),
        ("[]", "timeseries.json is not a JSON object"),
        ({"csf": {"Method": "Mean"}}, "timeseries.json gives no column the method aCompCor and a mask"),
        ({"a_comp_cor_00": entry(None)}, "timeseries.json gives no column the method aCompCor and a mask"),
        (
            {"c_comp_cor_00": entry("CSF"), "w_comp_cor_00": entry("WM")},
            r"no retained one \(masks there: CSF, WM\)",
        ),
        ({"dropped_0": entry(Retained=False)}, r"no retained one \(masks there: combined\)"),
    ],
)
def test_without_metadata_compcor_says_what_is_missing_and_what_can_run(tmp_path, metadata, problem):
    table = written(tmp_path, made_up(), metadata)
    assert runnable(table) == tuple(name for name in STRATEGIES if name not in COMPCOR)
    for strategy, nearest in (("compcor", "simple"), ("compcor6+gsr", "simple+gsr")):
        with pytest.raises(InputError, match=rf"combined mask, but {TABLE[:30]}.*{problem}") as error:
            select(table, strategy)
        assert str(error.value).startswith(f"{TABLE}: strategy {strategy!r} needs")
        assert f"can run with this table is {nearest!r}" in str(error.value)
        assert str(tmp_path) not in str(error.value)
    select(table, "simple")


def test_a_component_that_the_table_lacks_is_named(tmp_path):
    metadata = {f"a_comp_cor_{n:02d}": entry() for n in range(9)}
    table = written(tmp_path, made_up().drop(columns="a_comp_cor_07"), metadata)
    with pytest.raises(InputError, match=r"lacks: a_comp_cor_07\. .* is 'compcor6'"):
        select(table, "compcor")
    assert len(select(table, "compcor6").columns) == 30


def test_a_table_made_by_hand_has_no_components():
    with pytest.raises(InputError, match="no JSON file describes its columns"):
        select(made_up(components=0), "compcor")


def test_components_without_values_are_no_strategy_that_can_run():
    table = made_up()
    table["a_comp_cor_08"] = np.nan
    assert set(STRATEGIES) - set(runnable(table)) == {"compcor", "compcor+gsr"}
    with pytest.raises(InputError, match="'a_comp_cor_08', volume 1 is n/a"):
        select(table, "compcor")


@pytest.mark.parametrize("strategy", COMPCOR)
def test_compcor_goes_with_the_high_pass_under_which_it_was_computed(strategy):
    for high_pass in (1 / 128, 0.0078, 0.008, 0.01):
        assert model.Denoise(strategy=strategy, high_pass=high_pass).strategy == strategy
    for high_pass in (0.0077, 0.005):
        with pytest.raises(ValidationError, match=r"1/128 Hz \(0\.0078\) or more, not 0\.00"):
            model.Denoise(strategy=strategy, high_pass=high_pass)
        assert model.Denoise(strategy="simple", high_pass=high_pass).high_pass == high_pass


def test_a_slower_high_pass_with_compcor_is_an_error_of_the_configuration(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        "datasets: {trial: {bids_dir: data}}\ndenoise: {strategy: compcor6, high_pass: 0.001}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match="line 2: denoise: strategy 'compcor6' needs high_pass of 1/128 Hz"):
        load(path)


def test_0_0078_hz_leaves_no_frequency_that_fmriprep_removed_before_compcor():
    for volumes in (20, 99, 150, 163, 240, 777, 1200):
        for tr in (0.5, 0.72, 2.0, 2.5, 3.0):
            removed = len(cosine_columns(volumes, tr))
            assert cosines(volumes, tr, 0.0078, None).shape[1] <= volumes - 1 - removed
