"""The configuration: what was written arrives, and mistakes are named with file, line, key and value."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from conn.config import Config, load
from conn.config.checks import check
from conn.config.load import dump, to_yaml
from conn.config.model import Inference
from conn.config.pairs import pairs_of
from conn.errors import ConfigError

BASE = "datasets:\n  main: {bids_dir: raw, time_points: {labels: {pre: [a], post: [b]}}}\n"
PAIRED = "models:\n  m: {design: paired, before: pre, after: post%s}\n"


def read(folder: Path, text: str) -> Config:
    path = folder / "conn.yaml"
    path.write_text(text)
    return load(path)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    assert str(caught.value).startswith(str(folder / "conn.yaml"))
    return str(caught.value).replace(str(folder / "conn.yaml"), "FILE")


def wrong(folder: Path, text: str) -> str:
    """What the checks across keys say of a configuration that is valid by itself."""
    config = read(folder, text)
    with pytest.raises(ConfigError) as caught:
        check(config, folder / "conn.yaml")
    return str(caught.value).replace(str(folder / "conn.yaml"), "FILE")


def test_the_shortest_configuration_is_complete(tmp_path):
    config = read(tmp_path, "datasets: {main: {bids_dir: raw}}\n")
    check(config, tmp_path / "conn.yaml")
    assert (config.out, config.denoise.strategy, config.models) == ("results", "simple", {})
    assert "PAG" in config.connectivity.seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sede: 3\n", "FILE: line 3: sede: unknown key; did you mean 'seed'?"),
        ("denoise: {stratgy: x}\n", "FILE: line 3: denoise.stratgy: unknown key; did you mean 'strategy'?"),
        (PAIRED % ", covariate: []", "m.covariate: unknown key; did you mean 'covariates'?"),
        (PAIRED % ", contrasts: {change: {confirmtory: true}}", "did you mean 'confirmatory'?"),
        (
            "rois: {custom: {mine: {centre: [1, 2, 3]}}}\n",
            "rois.custom.mine.centre: unknown key; did you mean",
        ),
        ("xyzzy: 3\n", "xyzzy: unknown key; known here: associations, clinical, connectivity, datasets"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path, text, message):
    assert message in refused(tmp_path, BASE + text)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("007", "007 was read as a number"),
        ("true", "true was read as true/false"),
        ("1e3", "1e3 was read as a"),
    ],
)
def test_what_yaml_turns_into_numbers_or_booleans_must_be_quoted(tmp_path, value, says):
    message = refused(tmp_path, f"datasets: {{main: {{bids_dir: raw, subjects: ['01', {value}]}}}}\n")
    assert f"line 1: datasets.main.subjects[1]: {says}" in message
    assert message.endswith(f"write it in quotes: '{value}'")
    kept = read(tmp_path, f"datasets: {{main: {{bids_dir: raw, subjects: ['{value}']}}}}\n")
    assert kept.datasets["main"].subjects == (value,)


def test_yaml_1_2_leaves_words_and_times_as_text(tmp_path):
    text = "datasets: {main: {bids_dir: raw, subjects: [no, yes, on, 12:30, 1.2.3, 2020-01-01, 0b1]}}\n"
    assert read(tmp_path, text).datasets["main"].subjects == (
        ("no", "yes", "on", "12:30", "1.2.3", "2020-01-01", "0b1")
    )


def test_an_unquoted_number_gives_one_message_though_a_list_would_do_too(tmp_path):
    message = refused(tmp_path, "datasets: {main: {bids_dir: raw, task: 1, filters: {acq: [2]}}}\n")
    assert message.splitlines() == [
        "FILE: line 1: datasets.main.task: 1 was read as a number; write it in quotes: '1'",
        "FILE: line 1: datasets.main.filters.acq[0]: 2 was read as a number; write it in quotes: '2'",
    ]


def test_keys_are_text_whatever_they_look_like(tmp_path):
    text = BASE + "clinical: {variables: {sex: {column: s, kind: category, levels: {1: f, no: m}}}}\n"
    assert read(tmp_path, text).clinical.variables["sex"].levels == {"1": "f", "no": "m"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datasets: {main: {bids_dir: raw\n", "FILE, line 2: not YAML: expected ',' or '}'"),
        ("out: a\n\tseed: 1\n", "FILE, line 2: not YAML"),
        ("out: a\nseed: 1\nout: b\n", "FILE, line 3: key 'out' is there twice"),
        ("__use_yte__: true\n" + BASE, "__use_yte__ is refused"),
        ("", "expected keys"),
        ("- 1\n", "expected keys"),
        ("{a: 1}: 2\n", "FILE, line 1: a key must be a single word"),
        (BASE + "---\n" + BASE, "not YAML: but found another document"),
        ("x: &a [*a]\n" + BASE, "an alias (*name) contains itself"),
        ("out: results\n", "FILE: datasets: this key is needed"),
        ("datasets: {}\n", "datasets: more values are needed"),
    ],
)
def test_files_that_are_no_configuration_are_refused(tmp_path, text, message):
    assert message in refused(tmp_path, text)


def test_a_file_that_is_missing_or_not_utf_8_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: there is no such configuration file"):
        load(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes("out: Köln\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="byte 6 is not UTF-8"):
        load(tmp_path / "latin.yaml")


def test_a_byte_order_mark_and_carriage_returns_are_accepted(tmp_path):
    (tmp_path / "conn.yaml").write_bytes(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
    assert load(tmp_path / "conn.yaml").datasets["main"].bids_dir == "raw"


def test_tags_never_make_objects(tmp_path):
    assert "a whole number is needed" in refused(tmp_path, BASE + "seed: !!python/object:os.system 3\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("denoise: {strategy: simpel}\n", "denoise.strategy = 'simpel': allowed are 'simple', 'simple+gsr',"),
        (
            "rois: {space_mismatch: allowed}\n",
            "rois.space_mismatch = 'allowed': allowed are 'exclude' or 'allow'",
        ),
        ("inference: {alpha: 0.6}\n", "inference.alpha = 0.6: input should be less than 0.5"),
        (
            "inference: {permutations: 5}\n",
            "inference.permutations = 5: input should be greater than or equal",
        ),
        ("inference: {permutations: 1e4}\n", "inference.permutations = 10000.0: a whole number is needed"),
        ("rois: {min_coverage: 1.5}\n", "rois.min_coverage = 1.5: input should be less than or equal to 1"),
        ("connectivity: {fwhm_mm: -1}\n", "connectivity.fwhm_mm = -1: input should be greater than or equal"),
        ("denoise: {low_pass: .nan}\n", "denoise.low_pass = '.nan': a number is needed"),
        ("denoise: {low_pass: 0.005}\n", "low_pass 0.005 Hz must be above high_pass 0.008 Hz"),
        ("denoise: {min_df: twenty}\n", "denoise.min_df = 'twenty': a whole number is needed"),
        ("denoise:\n", "denoise: keys are needed"),
        ("rois: {use: sgACC}\n", "rois.use = 'sgACC': a list is needed"),
        ("report: {anonymise: yes}\n", "report.anonymise = 'yes': true or false is needed"),
        ("seed: -1\n", "seed = -1: input should be greater than or equal to 0"),
        ("rois: {custom: {my-seed: {}}}\n", "rois.custom.my-seed = 'my-seed': letters and digits only"),
        ("clinical: {variables: {a-b: {column: x}}}\n", "letters, digits and _ only, a letter first"),
        ("clinical: {scales: {M: {}}}\n", "clinical.scales.M: give either column (long table) or columns"),
        ("clinical: {response: {scale: M}}\n", "response.scale 'M' is none of scales: none"),
        ("clinical: {variables: {response: {column: r}}}\n", "the name 'response' is taken"),
        ("rois: {custom: {mine: {center: [1, 2], radius_mm: 3, space: x}}}\n", "center: 3 values are needed"),
        (
            "rois: {custom: {mine: {center: [1, 2, 3], space: x}}}\n",
            "center needs either radius_mm (a sphere) or size_mm (a box)",
        ),
        (
            "rois: {custom: {mine: {mask: a.nii, radius_mm: 3, space: x}}}\n",
            "radius_mm does not go with mask; it needs center, peak",
        ),
        (
            "rois: {custom: {mine: {center: [1, 2, 3], radius_mm: 3, space: x, value: 1}}}\n",
            "value does not go with center; it needs mask",
        ),
        (
            "rois: {custom: {mine: {probability: p.nii, space: x}}}\n",
            "probability needs either threshold or weights: true",
        ),
        (
            "rois: {custom: {mine: {mask: a.nii, center: [1, 2, 3], radius_mm: 3, space: x}}}\n",
            "give one of center, union, mask, probability or peak, not center and mask",
        ),
        ("rois: {custom: {mine: {space: x}}}\n", "or peak, not none"),
        ("rois: {custom: {mine: {peak: t.nii, space: x}}}\n", "peak needs radius_mm"),
        (
            "rois: {custom: {mine: {union: [{center: [1, 2, 3]}], space: x}}}\n",
            "give either radius_mm (a sphere) or size_mm (a box)",
        ),
        ("rois: {atlases: {a: {image: a.nii}}}\n", "space: name the template that the image is in"),
        (
            "rois: {atlases: {a: {image: a.nii, space: x, threshold: 0.5, weights: true}}}\n",
            "give either threshold or weights: true",
        ),
        (
            "rois: "
            "{transforms: [{regions: A, images: B, file: x.h5}, {regions: A, images: B, file: y.h5}]}\n",
            "transforms: two lead from A to B",
        ),
        ("rois: {custom: {mine: {mask: a.nii}}}\n", "rois.custom.mine.space: this key is needed"),
    ],
)
def test_values_out_of_range_or_kind_are_named_with_what_is_allowed(tmp_path, text, message):
    assert message in refused(tmp_path, BASE + text)


def test_a_rule_needs_baseline_and_endpoint(tmp_path):
    scale = "scales: {M: {column: m}}"
    assert "response needs clinical.baseline and clinical.endpoint" in refused(
        tmp_path, f"{BASE}clinical: {{{scale}, endpoint: post, response: {{scale: M}}}}\n"
    )
    remission = f"clinical: {{{scale}, endpoint: post, remission: {{scale: M, threshold: 10}}}}\n"
    assert read(tmp_path, BASE + remission).clinical.remission.threshold == 10


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("by: column", "by: column needs both table and column"),
        ("by: ses, table: x.tsv, column: y", "by: column needs both table and column"),
        ("labels: {pre: [a], post: [a]}", "'a' is listed under both 'pre' and 'post'"),
        ("labels: {pre: a}", "labels.pre = 'a': a list is needed"),
        ("by: Ses", "by = 'Ses': small letters only"),
    ],
)
def test_time_points_that_contradict_themselves_are_refused(tmp_path, points, message):
    text = f"datasets: {{main: {{bids_dir: raw, time_points: {{{points}}}}}}}\n"
    assert message in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("before: pre, after: post", "m.design: this key is needed; allowed are 'paired', 'two_sample'"),
        (
            "design: pared, before: pre",
            "m.design = 'pared': allowed are 'paired', 'two_sample', 'group_by_time'",
        ),
        ("design: paired, before: pre", "models.m.after: this key is needed"),
        ("design: paired, before: 1, after: post", "m.before: 1 was read as a number; write it in quotes"),
        ("design: two_sample, at: pre, group: arm, levels: [a]", "m.levels: more values are needed"),
        ("design: two_sample, before: pre, group: arm, levels: [a, b]", "m.before: unknown key"),
        ("design: regression, predictor: age", "m: give either at, or before and after"),
        ("design: regression, predictor: age, at: pre, before: pre", "give either at, or before and after"),
        ("design: paired, before: pre, after: post, seeds: every", "m.seeds = 'every': allowed are 'all' or"),
        (
            "design: paired, before: pre, after: post, edges: [PAG, RVM]",
            "m.edges[0] = 'PAG': a list is needed",
        ),
    ],
)
def test_designs_that_are_no_designs_are_refused(tmp_path, model, message):
    assert message in refused(tmp_path, f"{BASE}models:\n  m: {{{model}}}\n")


def test_every_mistake_of_a_file_is_named_at_once(tmp_path):
    message = refused(tmp_path, BASE + "sede: 3\nout: 7\ndenoise: {min_df: 2}\n")
    assert [line.split(": ")[2] for line in message.splitlines()] == ["out", "denoise.min_df = 2", "sede"]


def test_messages_are_about_the_key_not_about_a_member_of_a_union(tmp_path):
    message = refused(tmp_path, BASE + "models:\n  m: {design: regression, predictor: 3, at: pre}\n")
    assert message == "FILE: line 4: models.m.predictor: 3 was read as a number; write it in quotes: '3'"


# ---------------------------------------------------------------------------------------- checks across keys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rois: {use: [sgAC]}\n", "FILE: rois.use: unknown region 'sgAC'; did you mean"),
        ("connectivity: {seeds: [PAGG]}\n", "connectivity.seeds: unknown region 'PAGG'; did you mean PAG"),
        (
            "rois: {use: [PAG]}\nconnectivity: {seeds: [RVM]}\n",
            "connectivity.seeds: RVM is not among rois.use",
        ),
        (
            "rois: {custom: {PAG: {center: [0, 0, 0], radius_mm: 3, space: MNI152}}}\n",
            "rois.custom.PAG: the registry has a region of that name",
        ),
        (
            PAIRED % ", seeds: [precuneus]",
            "models.m.seeds: precuneusL has no map; add it to connectivity.seeds",
        ),
        (PAIRED % ", seeds: [nothing]", "models.m.seeds: unknown region 'nothing'"),
        (
            PAIRED % ", edges: [[PAG, sgACC]]",
            "edges: sgACC is not a region of this study; did you mean sgACC",
        ),
        (PAIRED % ", edges: [[PAG, PAG]]", "models.m.edges: PAG is paired with itself"),
        (
            PAIRED % ", contrasts: {interaction: {}}",
            "contrasts: 'interaction' is no contrast of paired; known: change",
        ),
        (
            "models: {m: {design: paired, before: pree, after: post}}\n",
            "m.before = 'pree': no such time point; did",
        ),
        ("models: {m: {design: paired, before: pre, after: pre}}\n", "m: before and after are both 'pre'"),
        (
            "models: {m: {design: two_sample, at: pre, group: arm, levels: [a, b]}}\n",
            "m.group: no variable 'arm' in clinical.variables; known: dataset, remission, response",
        ),
        (
            "models: {m: {design: two_sample, at: pre, group: response, levels: [a, b]}}\n",
            "m.group: response needs a rule; add clinical.response",
        ),
        (PAIRED % ", subset: {site: [a]}", "m.subset.site: no variable 'site'"),
        (PAIRED % ", strata: [remission]", "m.strata[0]: remission needs a rule"),
    ],
)
def test_references_that_lead_nowhere_are_named(tmp_path, text, message):
    assert message in wrong(tmp_path, BASE + text)


def test_a_reference_that_is_nearly_right_is_corrected(tmp_path):
    text = (
        BASE
        + "clinical: {variables: {treatment: {column: t, kind: category}}}\n"
        + "models: {m: {design: two_sample, at: pst, group: treatmnt, levels: [a, b]}}\n"
    )
    message = wrong(tmp_path, text)
    assert "m.at = 'pst': no such time point; did you mean 'post'?" in message
    assert "no variable 'treatmnt' in clinical.variables; did you mean 'treatment'?" in message


def test_own_regions_can_be_seeds_and_edges(tmp_path):
    text = (
        BASE
        + "rois: {use: [PAG], custom: {mine: {center: [0, 1, 2], radius_mm: 4, space: MNI152}}}\n"
        + "connectivity: {seeds: [mine]}\n"
        + PAIRED % ", seeds: [mine], edges: [[mine, PAG]]"
    )
    check(read(tmp_path, text), tmp_path / "conn.yaml")


def test_time_points_that_only_the_data_know_are_not_refused(tmp_path):
    text = "datasets: {main: {bids_dir: raw}}\n" + PAIRED % ""
    check(read(tmp_path, text), tmp_path / "conn.yaml")


# ---------------------------------------------------------------------------------------- writing it down


def test_a_dumped_configuration_loads_to_the_same_with_paths_moved(tmp_path):
    text = (
        "out: ../results\n"
        "datasets:\n"
        "  main: {bids_dir: raw, derivatives: /data/prep, subjects: ['007', 'no', '12:30'], res: '2'}\n"
        "rois: {custom: {mine: {mask: masks/m.nii.gz, value: 3, space: x}}}\n"
        "report: {truth: raw/truth.json, title: 'it''s: #1'}\n"
    )
    config = read(tmp_path, text)
    target = tmp_path / "deep" / "down"
    target.mkdir(parents=True)
    (target / "config.yaml").write_text(dump(config, tmp_path, target))
    again = load(target / "config.yaml")
    assert again.out == "../../../results"
    assert again.datasets["main"].bids_dir == "../../raw"
    assert (target / again.datasets["main"].derivatives).resolve() == Path("/data/prep")
    assert again.rois.custom["mine"].mask == "../../masks/m.nii.gz"
    assert again.report.truth == "../../raw/truth.json"
    (tmp_path / "back.yaml").write_text(dump(again, target, tmp_path))
    back = load(tmp_path / "back.yaml").model_dump()
    prep = back["datasets"]["main"].pop("derivatives")
    assert (tmp_path / prep).resolve() == Path("/data/prep")
    first = config.model_dump()
    first["datasets"]["main"].pop("derivatives")
    assert back == first


PRINTABLE = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Cn", "Zl", "Zp", "Co"]), max_size=20)


@given(
    texts=st.lists(
        PRINTABLE
        | st.sampled_from(
            ["007", "no", "null", "~", "12:30", "true", "1e3", "", " a ", "#", "?0", "-", "- a", "---"]
        )
    )
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives_being_written_and_read(tmp_path, texts):
    path = tmp_path / "any.yaml"
    path.write_text(to_yaml({"datasets": {"main": {"bids_dir": "raw", "subjects": texts}}}), encoding="utf-8")
    assert load(path).datasets["main"].subjects == tuple(texts)


def test_the_demo_configuration_round_trips(tmp_path):
    demo = Path(__file__).parents[1] / "config" / "demo.yaml"
    config = load(demo)
    check(config, demo)
    (tmp_path / "copy.yaml").write_text(dump(config, tmp_path, tmp_path))
    assert load(tmp_path / "copy.yaml") == config


def test_a_configuration_cannot_be_changed_after_validation(tmp_path):
    config = read(tmp_path, BASE)
    with pytest.raises(ValidationError, match="frozen"):
        config.out = "elsewhere"
    with pytest.raises(ValidationError, match="frozen"):
        config.denoise.strategy = "36P"


def test_every_option_has_prose():
    def sections(model):
        yield model
        for f in model.model_fields.values():
            stack = [f.annotation]
            while stack:
                one = stack.pop()
                if isinstance(one, type) and hasattr(one, "model_fields"):
                    yield from sections(one)
                else:
                    stack += list(getattr(one, "__args__", ()))

    silent = [
        f"{s.__name__}.{n}" for s in sections(Config) for n, f in s.model_fields.items() if not f.description
    ]
    assert silent == []


def test_enhanced_maps_need_a_family_of_their_own_and_clusters_a_threshold():
    for wrong, words in (
        ({"joint_families": True, "enhancement": {}}, "no common scale"),
        ({"enhancement": {"kind": "mass"}}, "need a threshold"),
        ({"enhancement": {"threshold": 2.3}}, "tfce has none"),
    ):
        with pytest.raises(ValueError, match=words):
            Inference.model_validate(wrong)
    assert Inference.model_validate({"enhancement": {}}).enhancement.kind == "tfce"


# Networks of one's own ---------------------------------------------------------------------------------

OWN = """
rois: {use: [sgACC, PAG, vmPFC, insula]}
connectivity: {seeds: [PAG], networks: {threat: %s}}
"""


def test_a_network_of_ones_own_may_be_named_by_edges_and_by_networks(tmp_path):
    text = (
        BASE + OWN % "[[sgACC, PAG], [vmPFC, insulaL, -1]]" + PAIRED % ", edges: threat, networks: [threat]"
    )
    config = read(tmp_path, text)
    check(config, tmp_path / "conn.yaml")
    own = config.connectivity.networks
    assert pairs_of(config.models["m"], own) == (("sgACCL", "PAG"), ("sgACCR", "PAG"), ("vmPFC", "insulaL"))
    assert config.models["m"].declared_networks == ("threat",)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            "[[sgACC, PGA]]",
            "connectivity.networks.threat: PGA is not a region of this study; did you mean PAG?",
        ),
        ("[[sgACC, LC]]", "connectivity.networks.threat: LCL is not a region of this study"),
        ("[[PAG, PAG]]", "connectivity.networks.threat: PAG is paired with itself"),
        ("[[PAG, sgACC], [sgACCL, PAG, -1]]", "threat: the pair sgACCL, PAG is listed twice"),
    ],
)
def test_pairs_of_ones_own_networks_are_checked(tmp_path, pairs, message):
    assert message in wrong(tmp_path, BASE + OWN % pairs)


def test_the_name_of_a_network_of_the_registry_is_taken(tmp_path):
    text = BASE + (OWN % "[[PAG, vmPFC]]").replace("threat", "plasticity")
    assert "connectivity.networks.plasticity: the name is taken" in wrong(tmp_path, text)


@pytest.mark.parametrize("pairs", ["[[PAG]]", "[[PAG, vmPFC, 2]]", "[]", "[[PAG, vmPFC, 0.5]]"])
def test_a_pair_has_two_regions_and_a_sign_of_one(tmp_path, pairs):
    assert "connectivity.networks.threat" in refused(tmp_path, BASE + OWN % pairs)


def test_an_unknown_network_names_those_of_ones_own_too(tmp_path):
    text = BASE + OWN % "[[PAG, vmPFC]]" + PAIRED % ", edges: none, networks: [thread]"
    assert "models.m.networks: 'thread' is no network; did you mean threat" in wrong(tmp_path, text)
