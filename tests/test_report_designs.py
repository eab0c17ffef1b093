"""What the report says and shows of every design, from tables that the engine filled with real tests."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from conn import inference, paths
from conn.config.model import Config
from conn.design import DesignContrast, Family, load_design
from conn.errors import InputError
from conn.permutation import permutation_set
from conn.report import build, build_report, inference_words, methods, plots, references, style
from conn.report.contract import read_outputs
from conn.report.values import Connectivity, edge_panel, predictor_words
from conn.tables import read_tsv, write_tsv
from test_report import NOT_ASKED_FOR, Maker, Page, World, configuration, read, without_images

NETWORKS = {"salience": range(0, 9), "limbic": range(4, 12)}
ARMS = ("ketamine", "midazolam", "placebo")

DESIGNS: dict[str, dict[str, Any]] = {
    "mean": {"design": "one_sample", "at": "pre"},
    "groups": {
        "design": "two_sample",
        "at": "post",
        "group": "arm",
        "levels": list(ARMS),
        "contrasts": {"difference": {}, "differenceKetamineVsPlacebo": {}},
    },
    "courses": {
        "design": "group_by_time",
        "before": "pre",
        "after": "post",
        "group": "arm",
        "levels": list(ARMS),
        "contrasts": {"interaction": {"confirmatory": True}, "interactionKetamineVsPlacebo": {}},
    },
    "arms": {
        "design": "parallel_arms",
        "before": "pre",
        "after": "post",
        "arm": "arm",
        "levels": ["ketamine", "placebo"],
        "randomised": True,
    },
    "order": {
        "design": "crossover",
        "treatment": "post",
        "control": "pre",
        "sequence": "order",
        "levels": ["first", "second"],
        "contrasts": {
            "treatment": {"confirmatory": True},
            "treatmentFlips": {},
            "carryover": {},
            "period": {},
        },
    },
    "visits": {"design": "within", "points": ["pre", "post", "late"]},
    "cells": {
        "design": "treatment_by_outcome",
        "before": "pre",
        "after": "post",
        "arm": "arm",
        "arm_levels": ["ketamine", "placebo"],
        "outcome": "order",
        "outcome_levels": ["first", "second"],
    },
    "written": {
        "design": "formula",
        "before": "pre",
        "after": "post",
        "formula": "age + sex + arm",
        "tests": {"age": {"age": 1}, "any": ["age", "sex=m"]},
    },
}


def world(model: str, **options: Any) -> World:
    """A trial with one model of some design."""
    three = model in {"groups", "courses"}
    settings = {
        "n": 18 if three else 16,
        "models": (model,),
        "settings": DESIGNS,
        "maps": False,
        "arms": ARMS if three else ("ketamine", "placebo"),
        "points": ("pre", "post", "late") if model == "visits" else ("pre", "post"),
        "categories": ("order",),
        "motion": True,
    }
    return World(**(settings | options))


class Filled(Maker):
    """Edges and networks are tested by the engine; every further column can be asked for."""

    networks: tuple[str, ...] = ()
    further: bool = False

    def write(self) -> None:
        super().write()
        for name in self.world.models:
            self.network_tables(name)
            self.maps_of_f(name)

    def maps_of_f(self, model: str) -> None:
        """Maps of an F contrast hold F; there is no t."""
        for contrast in load_design(self.out / paths.model_folder(model), model).contrasts:
            mapped = self.world.maps and contrast.statistic == "F" and not contrast.sensitivity
            for seed in self.world.seeds if mapped else ():
                old = self.out / paths.group_map(model, seed, contrast.name, "t")
                values = np.asanyarray(nib.load(old).dataobj) ** 2
                self.image(paths.group_map(model, seed, contrast.name, "F"), values)
                old.unlink()

    def pairs_kept(self) -> list[int]:
        return [j for j, pair in enumerate(self.pairs) if "RVM" not in pair]

    def data(self, contrast: DesignContrast, weights: Any) -> np.ndarray:
        rows = [sum(w * self.value(run) for run, w in row.items()) for row in weights]
        return np.stack(rows)[:, self.pairs_kept()]

    def test(self, contrast: DesignContrast, pick: Any) -> tuple[Any, Any]:
        """Result and family of some values, which `pick` makes of those of all edges."""
        values = [self.data(contrast, w) for w in (contrast.run_weights, *contrast.more_weights)]
        picked = [pick(v) for v in values]
        own = pick(self.data(contrast, contrast.covariate_weights)) if contrast.covariate_weights else None
        rearranged = permutation_set(
            contrast.n,
            contrast.exchange,
            strata=contrast.strata,
            matrix_effect=contrast.tested,
            n_permutations=self.world.permutations,
            seed=3,
            has_nuisance=contrast.has_nuisance,
        )
        result = inference.test(
            np.stack(picked) if len(picked) > 1 else picked[0],
            contrast.matrix,
            contrast.contrast,
            rearranged,
            contrast.variance_groups,
            covariate=own,
            cells=contrast.cells,
        )
        return result, inference.correct([result])

    def edges(self, contrast: DesignContrast) -> pd.DataFrame:
        result, family = self.test(contrast, lambda v: v)
        table = pd.DataFrame(
            {
                "roi_a": [self.pairs[j][0] for j in self.pairs_kept()],
                "roi_b": [self.pairs[j][1] for j in self.pairs_kept()],
                **self.columns(contrast, result, family),
                "p_fdr": result.p,
            }
        )
        table["family"] = f"{contrast.name}.edges"
        n = len(table)
        table["p_closed"] = table["p_fwe"] if self.networks else np.nan
        table["p_equivalence"] = np.linspace(0.01, 0.9, n) if self.further else np.nan
        table["score"] = np.linspace(9, 1, n) if self.further else np.nan
        table["p_score"] = np.linspace(0.005, 1, n) if self.further else np.nan
        table["p_tail"] = table["p_fwe"] / 3 if self.further else np.nan
        table["p_slope_difference"] = np.linspace(0.02, 1, n) if contrast.covariate_weights else np.nan
        table["slope_difference"] = np.linspace(1, 0, n) if contrast.covariate_weights else np.nan
        for name in ("g_av", "g_av_ci_low", "g_av_ci_high"):
            table[name] = table["g"] if self.further and contrast.name == "change" else np.nan
        return table

    def columns(self, contrast: DesignContrast, result: Any, family: Any) -> dict[str, Any]:
        is_f, corrected = contrast.statistic == "F", family.results[0]
        size = np.nan if is_f else result.stat / np.sqrt(contrast.n)
        return {
            "contrast": contrast.name,
            "n": contrast.n,
            "estimate": result.effect,
            "se": result.se,
            "df": result.df,
            "df_num": float(result.rank) if is_f else np.nan,
            "stat": result.stat,
            "p": result.p,
            "p_fwe": corrected.p_fwe,
            "ci_low": corrected.ci_low,
            "ci_high": corrected.ci_high,
            "ci_sim_low": corrected.ci_sim_low,
            "ci_sim_high": corrected.ci_sim_high,
            "g": size,
            "g_type": "n/a" if is_f else "g_z",
            "g_ci_low": size,
            "g_ci_high": size,
            "p_holm": np.nan if contrast.sensitivity else np.minimum(1, 2 * corrected.p_fwe),
        }

    def family(self, contrast: DesignContrast, family: Family, sizes: dict[str, int]) -> dict[str, Any]:
        _, made = self.test(contrast, lambda v: v)
        entry = super().family(contrast, family, sizes)
        scale = {"scale": made.scale, "statistic": contrast.statistic, "critical": float(made.critical)}
        return entry | scale | {"permutations": made.n_permutations, "smallest_p": made.smallest_p}

    def network_tables(self, model: str) -> None:
        if not self.networks:
            return
        tables = []
        for contrast in load_design(self.out / paths.model_folder(model), model).contrasts:
            chosen = [list(NETWORKS[name]) for name in self.networks]
            result, family = self.test(
                contrast, lambda v, chosen=chosen: np.stack([v[:, c].mean(axis=1) for c in chosen], axis=1)
            )
            columns = self.columns(contrast, result, family)
            columns |= dict.fromkeys(NOT_ASKED_FOR[1:-3], np.nan) | {"p_equivalence": 0.3}
            extra = {"n_edges": [len(c) for c in chosen], "family": f"{contrast.name}.networks"}
            extra["n_negative"] = [1] + [0] * (len(chosen) - 1)
            tables.append(pd.DataFrame({"network": list(self.networks), **columns, **extra}))
        write_tsv(self.out / paths.networks(model), pd.concat(tables, ignore_index=True))


def make(out: Path, about: World, networks: tuple[str, ...] = (), further: bool = False) -> Config:
    tester = Filled(out, about)
    tester.networks, tester.further = networks, further
    tester.write()
    return configuration(about)


def report(out: Path, about: World, **options: Any) -> tuple[str, Page, str]:
    """The page without pictures, its tables, and the methods text."""
    build_report(out, make(out, about, **options))
    html, page = read(out)
    return without_images(html), page, (out / paths.METHODS).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Page, str]:
    """Three groups: F with maps of F, then a pair."""
    out = tmp_path_factory.mktemp("groups")
    return out, *report(out, world("courses", maps=True, voxel=16.0, shape=(11, 14, 12)))


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Page, str]:
    """Two randomised arms with networks and every further p."""
    out = tmp_path_factory.mktemp("arms")
    return out, *report(out, world("arms"), networks=("salience", "limbic"), further=True)


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Page, str]:
    """A crossover with carry-over and period."""
    out = tmp_path_factory.mktemp("order")
    return out, *report(out, world("order"))


def methods_of(out: Path, about: World) -> str:
    """The methods text alone."""
    outputs = read_outputs(out, make(out, about))
    template = build._environment(tidy=False).get_template("methods.md.j2")
    return template.render(methods.context(outputs))


def table_of(page: Page, *heads: str) -> list[list[list[str]]]:
    """All tables whose header begins with these titles, each without its header."""
    return [rows[1:] for rows in page.tables if tuple(rows[0][: len(heads)]) == heads]


def plain(number: str) -> float:
    return float(number.replace("\N{MINUS SIGN}", "-"))


def read_edges(out: Path, model: str, contrast: str) -> pd.DataFrame:
    table = read_tsv(out / paths.edges(model))
    return table[table["contrast"] == contrast].set_index(["roi_a", "roi_b"])


Made = tuple[Path, str, Page, str]


def test_an_f_shows_its_statistic_and_two_degrees_of_freedom_and_no_estimate(groups: Made) -> None:
    out, _, page, _ = groups
    rows, _ = page.table("Edge", "n", "F (df)")
    edges = read_edges(out, "courses", "interaction")
    a, b = rows[0][0].split(" \N{EN DASH} ")
    stat = float(edges.loc[(a, b), "stat"])
    assert rows[0][2] == f"{stat:.2f} (2, 15)"
    heads = next(t[0] for t in page.tables if t[0][:3] == ["Edge", "n", "F (df)"])
    assert not {"Estimate", "CI", "Simultaneous CI", "g"} & set(heads)


def test_an_f_is_drawn_as_a_statistic_and_a_pair_as_a_forest(groups: Made) -> None:
    out, html, _, _ = groups
    figures = {path.name for path in (out / paths.FIGURES).glob("*.svg")}
    assert "model-courses_contrast-interaction_statistics.svg" in figures
    assert "model-courses_contrast-interaction_forest.svg" not in figures
    assert "model-courses_contrast-interactionKetamineVsPlacebo_forest.svg" in figures
    assert "has no estimate and no interval" in html
    assert "courses: interaction, ketamine vs placebo" in html


def test_maps_of_f_are_read_and_called_f(groups: Made) -> None:
    _, html, _, _ = groups
    assert "Maps of F, n = 18" in html
    assert "Maps of t, n = 12" in html


def test_f_comes_before_its_pairs_and_sensitivity_has_no_block_of_its_own(groups: Made) -> None:
    _, html, _, _ = groups
    first, pair = (html.index(f'id="result-courses-interaction{end}"') for end in ("", "KetamineVsPlacebo"))
    assert first < pair
    assert 'id="result-courses-interactionFD"' not in html
    assert "Two contrasts of one model were tested, one of them declared confirmatory" in html


def test_methods_say_what_an_f_is_and_that_it_protects_no_pair(groups: Made) -> None:
    text = groups[3]
    assert "tested by F of 2 combinations of coefficients" in text
    assert "the F does not protect them" in text
    assert "Welch 1951" not in text


def test_groups_of_unequal_size_are_said_to_have_a_variance_each(tmp_path: Path) -> None:
    text = methods_of(tmp_path, world("groups", n=20))
    assert "tested by G (an F with a variance for each group) of 2 combinations" in text
    assert "10.1093/biomet/38.3-4.330" in text


def test_a_slope_is_said_to_have_a_robust_error(tmp_path: Path) -> None:
    text = methods_of(tmp_path, world("written"))
    assert "tested by t over a robust standard error (HC3)" in text
    assert "10.1016/0304-4076(85)90158-7" in text and "10.1080/01621459.2016.1202117" in text


def test_courses_of_unequal_groups_are_said_to_have_a_covariance_each(tmp_path: Path) -> None:
    course = {"design": "within", "points": ["pre", "post", "late"], "group": "arm"}
    course |= {"levels": ["ketamine", "placebo"]}
    text = methods_of(tmp_path, world("visits", n=17, settings={"visits": course}))
    assert "tested by Johansen's F, with a covariance for each group" in text
    assert "Groups of unequal size have a covariance each" in text
    assert "10.1093/biomet/67.1.85" in text and "10.1016/j.spl.2003.10.012" in text


def test_the_contrast_with_motion_stands_beside_the_primary_one(arms: Made) -> None:
    out, html, page, _ = arms
    rows, _ = page.table("Network or edge", "Primary: β", "CI", "p_fwe", "With motion held constant: β")
    primary, again = (read_edges(out, "arms", name) for name in ("adjusted", "adjustedFD"))
    for row in rows[2:]:
        pair = tuple(row[0].split(" \N{EN DASH} "))
        assert plain(row[1]) == pytest.approx(float(primary.loc[pair, "estimate"]), abs=6e-4)
        assert plain(row[4]) == pytest.approx(float(again.loc[pair, "estimate"]), abs=6e-4)
        assert plain(row[6]) == pytest.approx(float(again.loc[pair, "p_fwe"]), abs=6e-4)
    assert "adjustedFD repeats adjusted with motion (mean_fd) as covariate; not a test of its own" in html


def test_adjusted_difference_and_change_stand_side_by_side_once(arms: Made) -> None:
    out, html, page, text = arms
    tables = table_of(page, "Network or edge", "Adjusted for pre: β", "CI", "p_fwe", "Change: β")
    assert len(tables) == 1
    adjusted, change = (read_edges(out, "arms", name) for name in ("adjusted", "change"))
    for row in tables[0][2:]:
        pair = tuple(row[0].split(" \N{EN DASH} "))
        assert plain(row[1]) == pytest.approx(float(adjusted.loc[pair, "estimate"]), abs=6e-4)
        assert plain(row[4]) == pytest.approx(float(change.loc[pair, "estimate"]), abs=6e-4)
    assert "The arms are declared randomised" in html
    assert "10.2307/1391660" in text and "Lord" not in text


def test_arms_that_were_not_randomised_put_the_change_first(tmp_path: Path) -> None:
    chosen = {"arms": DESIGNS["arms"] | {"randomised": False}}
    html, page, text = report(tmp_path, world("arms", settings=chosen))
    assert len(table_of(page, "Edge", "Change: β", "CI", "p_fwe", "Adjusted for pre: β")) == 1
    assert html.index('id="result-arms-change"') < html.index('id="result-arms-adjusted"')
    assert "Lord&#39;s paradox" in html and "(Lord 1967)" in text and "10.1037/h0025105" in text


def test_networks_stand_before_edges_with_interval_and_degrees_of_freedom(arms: Made) -> None:
    out, html, page, text = arms
    rows, _ = page.table("Network", "Edges", "n", "Estimate", "CI")
    table = read_tsv(out / paths.networks("arms")).set_index(["contrast", "network"])
    for row in rows:
        found = table.loc[("adjusted", row[0])]
        assert plain(row[3]) == pytest.approx(float(found["estimate"]), abs=6e-5)
        assert row[1] == found["n_edges"] and row[6].endswith(f"({float(found['df']):.0f})")
    more, _ = page.table("Network", "Simultaneous CI", "p_fwe", "p_equivalence")
    assert more[0][3] == "0.300"
    for row in more:
        ends = table.loc[("adjusted", row[0]), ["ci_sim_low", "ci_sim_high"]].astype(float)
        assert [plain(end) for end in row[1].split(" to ")] == pytest.approx(list(ends), abs=6e-5)
    block = html[html.index('id="result-arms-adjusted"') :]
    assert block.index("<h4>Networks</h4>") < block.index("<h4>Edges</h4>")
    assert block.index("Edges of the declared networks, read after them.") < block.index("<h4>Edges</h4>")
    assert "Declared networks were each tested as one" in text
    assert "entered the mean of their network with their Fisher z turned round" in text
    assert "Edges with the declared sign −1 enter the mean turned round (salience 1 of" in block


def test_further_p_stand_in_a_table_of_their_own_only_when_asked_for(arms: Made, groups: Made) -> None:
    slopes = ("Slope difference", "p_slope_difference")
    rows, _ = arms[2].table("Edge", "p_fwe", "p_tail", *slopes, "p_equivalence", "Score", "p_score")
    assert len(rows) == 12
    assert arms[2].table("Edge", "p_fwe", "p_tail", "g_av", "CI of g_av", "p_equivalence")[0]
    assert not table_of(groups[2], "Edge", "p_fwe", "p_tail")
    cited = ("10.1016/j.neuroimage.2016.05.068", "10.1007/BF01068419", "10.1002/hbm.24007")
    assert all(doi in arms[3] and doi not in groups[3] for doi in cited)


def test_carry_over_is_marked_as_never_deciding_wherever_it_stands(order: Made) -> None:
    _, html, page, text = order
    assert html.count("reported only: it never decides") == 4, "summary, design, result, methods"
    assert "This test never decides." in html
    heads = next(t[0] for t in page.tables if "By sign flips: β" in t[0])
    assert heads[1] == "By sequence labels: β" and heads[7] == "Carry-over (never decides): β"
    assert "carry-over (reported only: it never decides)" in text and "(Freeman 1989)" in text


def test_a_confirmatory_carry_over_still_never_decides(tmp_path: Path) -> None:
    chosen = DESIGNS["order"] | {"contrasts": {"treatment": {}, "carryover": {"confirmatory": True}}}
    make(tmp_path, world("order", settings={"order": chosen}))
    outputs = read_outputs(tmp_path, configuration(world("order", settings={"order": chosen})))
    carry = next(c for c in outputs.contrasts() if c.name == "carryover")
    assert not carry.planned and "confirmatory" not in carry.status


def test_several_time_points_are_tested_by_hotelling_and_drawn_at_each_of_them(tmp_path: Path) -> None:
    text = methods_of(tmp_path, world("visits"))
    assert "tested by Hotelling's T² as an F" in text and "10.1214/aoms/1177732979" in text
    outputs = read_outputs(tmp_path, configuration(world("visits")))
    contrast = outputs.contrasts()[0]
    panel = edge_panel(Connectivity(outputs), contrast, "sgACCL", "PAG", "", "")
    run = next(c for c in outputs.matrices if "seslate" in c and c.startswith("sub03"))
    assert panel.groups[0].z.shape == (16, 3)
    assert panel.groups[0].z[2, 2] == pytest.approx(np.arctanh(outputs.matrices[run].loc["PAG", "sgACCL"]))


def test_an_adjusted_comparison_is_drawn_with_its_baseline(arms: Made) -> None:
    outputs = read_outputs(arms[0], configuration(world("arms")))
    contrast = outputs.contrasts()[0]
    assert contrast.name == "adjusted"
    panel = edge_panel(Connectivity(outputs), contrast, "sgACCL", "PAG", "", "")
    assert [g.z.shape for g in panel.groups] == [(8, 2), (8, 2)]
    run = next(c for c in outputs.matrices if "sespre" in c and c.startswith("sub01"))
    assert panel.groups[0].z[0, 0] == pytest.approx(np.arctanh(outputs.matrices[run].loc["PAG", "sgACCL"]))


def test_a_report_of_a_formula_has_words_for_t_and_f(tmp_path: Path) -> None:
    html, page, _ = report(tmp_path, world("written"))
    assert page.table("Edge", "n", "Estimate")[0] and page.table("Edge", "n", "F (df)")[0]
    assert "Edges by p_fwe. Change in Fisher z per unit of age." in html
    figures = {path.name for path in (tmp_path / paths.FIGURES).glob("*_people.svg")}
    assert figures == {"model-written_contrast-age_people.svg"}, "an F of columns cannot be drawn in people"


@pytest.mark.parametrize("model", ["mean", "cells", "written", "visits"])
def test_methods_say_what_each_design_compares(tmp_path: Path, model: str) -> None:
    text = methods_of(tmp_path, world(model))
    assert "None" not in text
    expected = {
        "mean": "mean at pre against 0",
        "cells": "arm: ketamine minus placebo, by order: first minus second, post minus pre",
        "written": "connectivity (post minus pre) on the formula age + sex + arm",
        "visits": "any change over pre, post and late",
    }
    assert expected[model] in text


def test_a_formula_is_drawn_over_the_column_that_is_tested(tmp_path: Path) -> None:
    make(tmp_path, world("written"))
    outputs = read_outputs(tmp_path, configuration(world("written")))
    slope = outputs.contrasts()[0]
    panel = edge_panel(Connectivity(outputs), slope, "sgACCL", "PAG", "", "")
    age = np.arange(30, 46) - np.mean(np.arange(30, 46))
    assert panel.predictor == pytest.approx(age)
    assert predictor_words(outputs, slope) == "age (centred)"


@pytest.mark.parametrize("column", NOT_ASKED_FOR)
def test_an_edge_table_without_a_column_of_the_contract_is_refused(
    tmp_path_factory: pytest.TempPathFactory, arms: Made, column: str
) -> None:
    out = tmp_path_factory.mktemp("damaged")
    shutil.copytree(arms[0], out, dirs_exist_ok=True)
    path = out / paths.edges("arms")
    write_tsv(path, read_tsv(path).drop(columns=column))
    with pytest.raises(InputError, match=rf"edges\.tsv: the column '{column}' is not there"):
        read_outputs(out, configuration(world("arms")))


def texts_of(figure: Figure) -> list[Any]:
    """Visible texts with their places in pixels."""
    figure.draw_without_rendering()
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [(t, t.get_window_extent()) for t in found]


def test_a_design_matrix_of_ten_columns_and_an_f_stays_inside_its_figure() -> None:
    rng = np.random.default_rng(4)
    columns = [f"a column with a long name {i}" for i in range(9)] + [
        "the last one, longer than all others of it"
    ]
    weights = np.eye(10)[1:4]
    with style.look():
        figure = plots.design_matrix(rng.standard_normal((23, 10)), columns, weights)
        width, height = figure.get_size_inches() * figure.dpi
        for text, box in texts_of(figure):
            assert box.x0 >= 0 and box.y0 >= 0, text.get_text()
            assert box.x1 <= width and box.y1 <= height, text.get_text()
    shown = [t.get_text() for t, _ in texts_of(figure)]
    assert shown.count("1") >= 3 and "tested\ntogether" in shown


@pytest.mark.parametrize("n_points", [1, 2, 5])
@pytest.mark.parametrize("n_groups", [1, 3, 4])
def test_names_below_the_panels_of_people_do_not_overlap(n_points: int, n_groups: int) -> None:
    rng = np.random.default_rng(5)
    names = [f"esketamine/nonresponder {i}" for i in range(n_groups)] if n_groups > 1 else [""]
    points = ["baseline", "first day", "two weeks", "follow-up", "one year"][:n_points]
    made = tuple(plots.Group(name, rng.standard_normal((7, n_points))) for name in names)
    panels = [plots.EdgePanel("sgACCL \N{EN DASH} PAG", "p_fwe = 0.04", made)] * 3
    with style.look():
        figure = plots.edges(panels, points, "Fisher z")
        figure.draw_without_rendering()
        labels = [label for axes in figure.axes for label in axes.get_xticklabels() if label.get_text()]
        boxes = [label.get_window_extent() for label in labels if label.get_rotation() == 0]
        legend = [text.get_window_extent() for known in figure.legends for text in known.get_texts()]
    flat = boxes + legend
    assert not any(one.overlaps(other) for i, one in enumerate(flat) for other in flat[:i])
    assert all(box.x1 <= figure.get_size_inches()[0] * figure.dpi for box in flat)


def test_methods_say_how_missing_values_are_treated_only_when_they_may_be_missing(arms: Made) -> None:
    outputs = read_outputs(arms[0], configuration(world("arms")))
    share = outputs.config.inference.model_copy(update={"min_share": 0.8})
    some = replace(outputs, config=outputs.config.model_copy(update={"inference": share}))
    assert any("at least 80 % of the rows have a value" in s for s in inference_words.sentences(some))
    assert not any("of the rows have a value" in s for s in inference_words.sentences(outputs))


def test_comparisons_of_seeds_have_words_and_a_source(groups: Made) -> None:
    outputs = read_outputs(groups[0], configuration(world("courses")))
    first = replace(outputs.contrasts()[0], compared={"cingulate": {}})
    model = replace(outputs.models[0], contrasts=(first,))
    compared = replace(outputs, models=(model,))
    for one, expected in ((compared, True), (outputs, False)):
        said = any("between the maps of several seeds" in s for s in inference_words.sentences(one))
        cited = any(r.doi == "10.1214/aoms/1177732979" for r in references.cited(one))
        assert (said, cited) == (expected, expected)


def test_edges_of_a_network_are_bold_by_the_p_that_is_read_after_it(arms: Made) -> None:
    page = arms[2]
    rows = next(
        (t[1:], bold[1:])
        for t, bold in zip(page.tables, page.bold, strict=True)
        if t[0][0] == "Edge" and t[0][-1] == "p_closed"
    )
    assert len(rows[0]) == 6
    assert [float(row[-1]) <= 0.05 for row in rows[0]] == rows[1] and any(rows[1])
