"""Parts of the report: words, slices, values of people."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from conn import paths
from conn.config.model import Regression
from conn.design import compile_model, save_design
from conn.errors import InputError
from conn.files import write_json
from conn.report import brain, contract, plots, regions, words
from conn.report.contract import read_outputs
from conn.report.people import make_names
from conn.report.values import Connectivity, edge_panel, predictor_words
from conn.simulate import layout
from conn.tables import read_tsv, write_tsv
from test_report import Maker, World, configuration


@pytest.mark.parametrize(
    ("p", "smallest", "text"),
    [
        (0.0004, None, "p < 0.001"),
        (0.0123, None, "p = 0.012"),
        (0.5, None, "p = 0.50"),
        (0.03125, 0.03125, "p = 0.031, the smallest attainable"),
        (0.0002, 0.0002, "p < 0.001"),
        (math.nan, None, "p not available"),
    ],
)
def test_p_is_said_as_readers_know_it(p: float, smallest: float | None, text: str) -> None:
    assert words.p_words(p, "p", smallest).replace("\N{NO-BREAK SPACE}", " ") == text


def test_numbers_have_real_minus_signs_and_no_negative_zero() -> None:
    assert words.fixed(-0.1234, 3) == "\N{MINUS SIGN}0.123"
    assert words.fixed(-0.0001, 3) == "0.000"
    assert words.fixed(math.nan, 3) == "n/a"
    assert words.interval(-0.3, math.nan, 2) == "n/a"


def test_a_column_shares_decimals_that_give_its_largest_value_three_digits() -> None:
    assert words.decimals_for([0.0123, -0.004]) == 4
    assert words.decimals_for([0.31, 0.002]) == 3
    assert words.decimals_for([412.0]) == 0
    assert words.decimals_for([math.nan]) == 2


def test_lists_read_like_sentences() -> None:
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.listed(["a", "b", "c"], 2) == "a, b and 1 more"
    assert words.listed([]) == ""


def test_regions_stand_in_anatomical_groups_and_nothing_is_lost() -> None:
    labels = ["mySpot", "PAG", "sgACCR", "amygdalaLBL", "sgACCL", "PAG"]
    assert regions.ordered(labels) == ["sgACCL", "sgACCR", "amygdalaLBL", "PAG", "mySpot"]
    assert regions.group_of("mySpot") == regions.OWN


def spot(at: tuple[int, int, int]) -> brain.Volume:
    data = np.zeros((7, 8, 9), np.float32)
    data[at] = 1
    affine = np.diag([20.0, 20.0, 20.0, 1.0])
    affine[:3, 3] = [-60, -90, -70]
    return brain.Volume(data, affine)


@pytest.mark.oracle
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_shows_each_voxel_where_its_coordinates_are(axis: int) -> None:
    voxel = (5, 6, 6)
    volume = spot(voxel)
    centre = (volume.affine @ [*voxel, 1])[:3]
    picture = brain.plane(volume, axis, float(centre[axis]))
    rows, columns = np.nonzero(np.nan_to_num(picture))
    across, up = {0: (1, 2), 1: (0, 2), 2: (0, 1)}[axis]
    starts, ends = {0: -78.0, 1: -112.0, 2: -70.0}, {1: 78.0, 2: 84.0}
    assert starts[across] + brain.STEP * columns.mean() == pytest.approx(centre[across], abs=brain.STEP)
    top = starts[up] + brain.STEP * (picture.shape[0] - 1)
    assert abs(top - ends[up]) <= brain.STEP
    assert top - brain.STEP * rows.mean() == pytest.approx(centre[up], abs=brain.STEP)


def test_a_slice_is_empty_where_the_image_ends() -> None:
    assert np.isnan(brain.plane(spot((3, 3, 3)), 2, -300.0)).all()


def test_opacity_grows_with_the_effect_and_missing_is_transparent() -> None:
    ground = np.full((1, 4, 3), 0.5)
    shown = brain.blend(ground, np.array([[np.nan, 0.0, 1.5, 6.0]]), full=3.0, limit=6.0)
    away = np.abs(shown - 0.5).sum(axis=2)[0]
    assert away[0] == 0 and away[1] == 0
    assert 0 < away[2] < away[3]
    assert shown[0, 3, 0] > shown[0, 3, 2], "positive is red"


def test_the_mean_map_ignores_missing_voxels(tmp_path: Path) -> None:
    maker = Maker(tmp_path, World(n=1, shape=(7, 8, 9)))
    first, second = np.full((7, 8, 9), 1.0), np.full((7, 8, 9), 3.0)
    second[0, 0, 0] = np.nan
    first[1, 1, 1] = second[1, 1, 1] = np.nan
    maker.image(Path("a.nii.gz"), first)
    maker.image(Path("b.nii.gz"), second)
    mean = brain.mean_of([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]).data
    assert mean[0, 0, 0] == 1 and mean[2, 2, 2] == 2 and np.isnan(mean[1, 1, 1])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> contract.Outputs:
    out = tmp_path_factory.mktemp("study")
    world = World(n=6, maps=False, label="{:02d}")
    Maker(out, world).write()
    return read_outputs(out, configuration(world))


@pytest.mark.oracle
def test_plotted_values_are_the_fisher_z_of_the_run_matrices(study: contract.Outputs) -> None:
    data = Connectivity(study)
    change = next(c for c in study.contrasts() if c.name == "change")
    panel = edge_panel(data, change, "sgACCL", "PAG", "", "")
    entities = {"sub": "03", "ses": "post", "task": "rest", "space": "MNI152NLin2009cAsym"}
    table = read_tsv(study.out / paths.relmat(entities)).set_index("roi")
    assert panel.groups[0].z.shape == (6, 2)
    r = float(str(table.loc["PAG", "sgACCL"]))
    assert panel.groups[0].z[2, 1] == pytest.approx(np.arctanh(r), abs=1e-9)


@pytest.mark.oracle
def test_mean_change_of_the_plot_is_the_estimate_of_the_table(study: contract.Outputs) -> None:
    data = Connectivity(study)
    change = next(c for c in study.contrasts() if c.name == "change")
    for row in change.edges.head(5).to_dict("records"):
        z = edge_panel(data, change, row["roi_a"], row["roi_b"], "", "").groups[0].z
        assert (z[:, 1] - z[:, 0]).mean() == pytest.approx(row["estimate"], abs=1e-6)


def test_groups_of_the_plot_are_the_levels_of_the_model(study: contract.Outputs) -> None:
    data = Connectivity(study)
    contrast = next(c for c in study.contrasts() if c.name == "interaction")
    panel = edge_panel(data, contrast, "sgACCL", "PAG", "", "")
    assert [(g.name, len(g.z)) for g in panel.groups] == [("ketamine", 3), ("placebo", 3)]


def test_a_slope_is_plotted_against_the_number_of_the_cohort_table(study: contract.Outputs) -> None:
    data = Connectivity(study)
    contrast = next(c for c in study.contrasts() if c.name == "slope")
    panel = edge_panel(data, contrast, "sgACCL", "PAG", "", "")
    table = read_tsv(study.out / paths.COHORT).query("time_point == 'post'")
    assert panel.predictor is not None
    change = table["MADRS_percent_change"].astype(float).to_numpy()
    assert panel.predictor == pytest.approx(change - change.mean())


def slope_of(out: Path, at: str | None, predictor: str) -> tuple[contract.Outputs, plots.EdgePanel, str]:
    """A regression on a number that differs between the time points."""
    world = World(n=6, models=("slope",), maps=False)
    maker = Maker(out, world)
    maker.tables()
    cohort = read_tsv(out / paths.COHORT)
    cohort["mean_fd"] = [f"{0.1 + 0.01 * i * i + 0.005 * (i % 3)}" for i in range(len(cohort))]
    write_tsv(out / paths.COHORT, cohort)
    config = configuration(world)
    points = {"at": at, "before": None, "after": None} if at else {}
    model = config.models["slope"].model_copy(update={"predictor": predictor, **points})
    config = config.model_copy(update={"models": {"slope": model}})
    for i in range(world.n):
        maker.run(i, 0)
        maker.run(i, 1)
    runs = read_tsv(out / paths.RUNS)
    design = compile_model("slope", model, config.clinical, cohort, runs, config.inference)
    save_design(out / paths.model_folder("slope"), design)
    found = [{**maker.family(c, f, {"edges": 45, "maps": 9}), "contrast": c.name}
             for c in design.contrasts for f in design.families]  # fmt: skip
    write_json(out / paths.families("slope"), found)
    outputs = read_outputs(out, config)
    contrast = outputs.contrasts()[0]
    panel = edge_panel(Connectivity(outputs), contrast, "sgACCL", "PAG", "", "")
    assert isinstance(model, Regression)
    return outputs, panel, predictor_words(outputs, contrast)


def test_a_slope_at_one_time_point_is_plotted_against_the_number_of_that_time_point(tmp_path: Path) -> None:
    _, panel, words = slope_of(tmp_path, "post", "mean_fd")
    fd = read_tsv(tmp_path / paths.COHORT).query("time_point == 'post'")["mean_fd"].astype(float).to_numpy()
    assert panel.predictor == pytest.approx(fd - fd.mean())
    assert words == "mean fd (centred)"


def test_a_slope_of_changes_is_plotted_against_the_change_of_a_varying_number(tmp_path: Path) -> None:
    _, panel, words = slope_of(tmp_path, None, "mean_fd")
    table = read_tsv(tmp_path / paths.COHORT).astype({"mean_fd": float})
    pre, post = (table.loc[table["time_point"] == t, "mean_fd"].to_numpy() for t in ("pre", "post"))
    assert panel.predictor == pytest.approx(post - pre - (post - pre).mean())
    assert words == "change of mean fd (centred)"


@pytest.mark.oracle
def test_plotted_values_weigh_runs_as_the_design_does(tmp_path: Path) -> None:
    world = World(n=6, models=("change",), maps=False)
    maker = Maker(tmp_path, world)
    maker.write()
    path = tmp_path / paths.design_tsv("change")
    design, runs = read_tsv(path), read_tsv(tmp_path / paths.RUNS)
    first, second, other = maker.key(0, 0), maker.key(1, 0), maker.key(0, 1)
    runs.loc[runs["run"] == first, "time_point"] = "post"
    design.loc[0, "runs"] = f"{first}:0.25;{other}:0.75;{second}:-1.0"
    write_tsv(path, design)
    write_tsv(tmp_path / paths.RUNS, runs)
    data = Connectivity(read_outputs(tmp_path, configuration(world)))
    panel = edge_panel(data, data.outputs.contrasts()[0], "sgACCL", "PAG", "", "")
    z = {k: data.runs[k][data.labels.index("PAG"), data.labels.index("sgACCL")] for k in data.runs}
    assert panel.groups[0].z[0] == pytest.approx([z[second], 0.25 * z[first] + 0.75 * z[other]])


def test_families_without_their_size_are_refused(tmp_path: Path) -> None:
    world = World(n=6, models=("change",), maps=False)
    Maker(tmp_path, world).write()
    write_json(tmp_path / paths.families("change"), {"change.edges": 10})
    with pytest.raises(InputError, match=r"model-change_families\.json: no list of families"):
        read_outputs(tmp_path, configuration(world))


@pytest.mark.parametrize("name", ["runs", "cohort", "exclusions"])
def test_a_table_without_a_column_of_the_contract_is_refused(tmp_path: Path, name: str) -> None:
    world = World(n=3, models=(), maps=False)
    Maker(tmp_path, world).write()
    path = tmp_path / f"{name}.tsv"
    write_tsv(path, read_tsv(path).drop(columns="dataset"))
    with pytest.raises(InputError, match=rf"{name}\.tsv: the column 'dataset' is not there"):
        read_outputs(tmp_path, configuration(world))


def test_paths_are_cut_from_any_text_and_ratios_are_not() -> None:
    names = make_names([("trial", "01")], False, 0, ["/home/a b/study"])
    assert names.text("/home/a b/study/bids/sub-01.nii.gz: broken") == "bids/sub-01.nii.gz: broken"
    assert names.text("cannot read /data/x/y.tsv, row 3") == "cannot read …/y.tsv, row 3"
    assert names.text(r"C:\Users\me\x.tsv") == "…/x.tsv"
    assert names.text("3/41 voxels, group/change/edges.tsv") == "3/41 voxels, group/change/edges.tsv"


def test_a_matrix_of_forty_regions_keeps_readable_labels() -> None:
    import pandas as pd

    labels = pd.Index([f"region{i}" for i in range(40)])
    figure = plots.matrix(pd.DataFrame(np.eye(40), index=labels, columns=labels), "z", groups=["a"] * 40)
    width, _ = figure.get_size_inches()
    axes = figure.axes[0]
    assert width <= 9.21
    assert all(float(t.get_fontsize()) >= 8 for t in axes.get_xticklabels())
    cell = axes.get_position().width * width / 40
    assert cell * 72 >= 8, "a line of text fits into a cell"


def test_the_report_knows_the_name_under_which_the_simulator_signs():
    assert contract.SIMULATOR == layout.GENERATOR
