"""The check of a study: what it says of a good one, and that it says everything of a bad one."""

import contextlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.slides import glass, with_tissue, write_slide
from tta_pipeline import cli, config
from tta_pipeline.commands import check, headers
from tta_pipeline.errors import InputError
from tta_pipeline.numerics.cost import TRAIN_PATCHES_PER_SECOND


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve patients, each with a slide of 1024 x 768 px; half of them have the event."""
    monkeypatch.chdir(tmp_path)
    names = [f"TCGA-AA-00{number:02d}" for number in range(12)]
    pixels = with_tissue(glass(width=1024, height=768), rows=slice(128, 512), columns=slice(256, 768))
    write_slide(tmp_path / "one.svs", pixels)
    sheet, clinical, rna = ["slide_id,patient_id,path"], ["patient_id,time_days,event"], ["id,A,B,C"]
    for number, name in enumerate(names):
        (tmp_path / f"{name}.svs").symlink_to("one.svs")
        sheet.append(f"{name}-01Z-00-DX1,{name},{name}.svs")
        clinical.append(f"{name},{100 + 10 * number},{number % 2}")
        rna.append(f"{name},1,2,3")
    rna.append("TCGA-AA-0099,1,2,3")
    for name, lines in {"slides.csv": sheet, "clinical.csv": clinical, "rna.csv": rna}.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    (tmp_path / "sets.gmt").write_text("S1\tx\tA\tB\tC\nS2\tx\tA\tX\tY\tZ\n")
    write_config(tmp_path)
    return tmp_path


def write_config(folder: Path, *, gene_names: str | None = "hgnc", **sections: object) -> None:
    inputs = {"slides": "slides.csv", "clinical": "clinical.csv", "expression": "rna.csv", "gene_sets": "sets.gmt"}
    inputs["gene_names"] = gene_names
    content = {"inputs": inputs, "splits": {"folds": 2, "validation_fraction": 0}} | sections
    (folder / "study.yaml").write_text(yaml.safe_dump(content))


def test_a_study_that_can_run(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--study", str(study / "study.yaml"), "--width", "2048", "--tiles-per-second", "10"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "expression: 13 patients, 0 samples not used" in said
    assert "gene sets: 1 of 2 are kept; 57% of their genes are among 3" in said
    assert (
        "genes of the sets: 7 in 2 sets, one of two sets counted twice; 4 (57%) were measured, 0 of them under another "
        "name, 0 in several rows; 3 are missing"
    ) in said
    assert "headers: 12 slides can be opened, 0 cannot (bad_slides allows 0)" in said
    assert "resolution: 0.5 to 0.5 µm per pixel (12 by openslide.mpp-x)" in said
    # 12 slides of 4 x 3 tiles of 256 px, three tenths of them tissue.
    assert any(line.startswith("expected: about 43 tiles if 30% of the slides is tissue; with 2048 ") for line in said)
    stages = [line.split(": ")[1] for line in said if line.startswith("expected: ") and line.endswith("hours")]
    assert stages == ["tiles", "features", "train"]
    assert "patients: 13 candidates" in said
    assert "patients: 12 (-1: no slide; no outcome: not in the clinical table)" in said
    assert "events: 6 of 12 patients" in said
    assert sum(line.startswith("test part 0.") and "fewer than 10" in line for line in said) == 2
    assert sorted(path.name for path in study.iterdir() if path.is_dir()) == [], "nothing is left behind"


def test_genes_under_other_names_are_counted_and_other_kinds_a_problem(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rna = study / "rna.csv"
    rna.write_text(rna.read_text().replace("id,A,B,C", "id,ENSG00000141510.18,SEPT7,C"))
    (study / "sets.gmt").write_text("S1\tx\tTP53\tSEPTIN7\tC\n")
    check.run(study=[study / "study.yaml"])
    said = capsys.readouterr().out
    assert "gene sets: 3 symbols (translated: none); matrix: 2 symbols, 1 Ensembl identifier (translated: 1 " in said
    assert "3 (100%) were measured, 2 of them under another name (TP53 as ENSG00000141510, SEPTIN7 as SEPT7), 0" in said
    (study / "sets.gmt").write_text("S1\tx\t7157\t989\t3\n")
    write_config(study, gene_names=None)
    with pytest.raises(InputError, match=r"found 1 problem:\n  sets.gmt: expected genes identified as in rna.csv"):
        check.run(study=[study / "study.yaml"])


def test_every_problem_at_once(study: Path) -> None:
    (study / "TCGA-AA-0003.svs").unlink()
    (study / "TCGA-AA-0003.svs").write_text("no slide")
    (study / "clinical.csv").write_text("patient,time_days,event\np,1,1\n")
    (study / "sets.gmt").write_text("S1\tx\n")
    write_config(study, features={"weights": "none.safetensors"})
    with pytest.raises(InputError) as caught:
        check.run(study=[study / "study.yaml"])
    message = str(caught.value)
    assert "expected a study that can run, found 4 problems" in message
    assert "expected column 'patient_id'" in message
    assert "sets.gmt: expected name, description and genes" in message
    assert "features.weights: expected a file at none.safetensors" in message
    assert "TCGA-AA-0003-01Z-00-DX1: expected a slide that OpenSlide reads" in message


def test_splits_that_cannot_be_drawn_are_a_problem(study: Path) -> None:
    write_config(study, splits={"folds": 7})
    with pytest.raises(InputError, match=r"found 1 problem:\n  splits: expected at least 7 events"):
        check.run(study=[study / "study.yaml"])


def test_training_is_every_fit_of_every_model_by_its_recipe_and_the_patients_who_train(study: Path) -> None:
    write_config(
        study,
        splits={"folds": 4, "repeats": 2, "validation_fraction": 0.2},
        train={"seeds": [0, 1, 2], "epochs": 7, "patches": 100},
        models={"a": {}, "b": {"architecture": "mlp", "recipe": "published"}},
    )
    found = headers.cost_of_training(config.load(study / "study.yaml"), patients=100, patches=100 * 80.0)
    passes = 2 * 4 * 3 * (7 + 5) * (100 * 3 / 4 * 0.8) * 80
    assert found.hours == pytest.approx(passes / TRAIN_PATCHES_PER_SECOND / 3600)


def test_paths_are_relative_to_the_directory(study: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with contextlib.chdir(elsewhere):
        assert cli.run(["check", "--study", str(study / "study.yaml"), "--directory", str(study)]) == 0
        with pytest.raises(InputError, match="expected the folder of the study, found none"):
            check.run(study=[study / "study.yaml"], directory=Path("nowhere"))


def test_slides_that_cannot_be_opened_are_named_and_their_patients_counted_out(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "TCGA-AA-0003.svs").unlink()
    (study / "TCGA-AA-0003.svs").write_text("no slide")
    write_config(study, bad_slides={"policy": "exclude", "limit": 1})
    check.run(study=[study / "study.yaml"])
    said = capsys.readouterr().out
    assert "headers: left out: TCGA-AA-0003-01Z-00-DX1: expected a slide that OpenSlide reads" in said
    assert "slides: 11 (-1: cannot be opened)" in said
    assert "patients: 11 (-1: no usable slide)" in said
    assert "events: 5 of 11 patients" in said


def test_patients_of_a_file_of_splits_who_are_not_in_the_cohort_and_the_other_way_round(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"TCGA-AA-00{number:02d}" for number in range(1, 12)] + ["TCGA-AA-0099", "TCGA-ZZ-0001"]
    (study / "splits").mkdir()
    for fold in range(2):
        rows = [(name, "val" if number // 2 % 2 == fold else "train") for number, name in enumerate(names)]
        columns = [[name for name, role in rows if role == wanted] for wanted in ("train", "val")]
        lines = (f"{number},{a},{b}" for number, (a, b) in enumerate(itertools.zip_longest(*columns, fillvalue="")))
        (study / "splits" / f"splits_{fold}.csv").write_text("\n".join([",train,val", *lines]) + "\n")
    splits = {"folds": 2, "file": "splits", "strangers": "drop"}
    write_config(study, splits=splits | {"validation_fraction": 0.4})
    check.run(study=[study / "study.yaml"])
    said = capsys.readouterr().out
    assert (
        "splits: 2 patients of splits are not in the cohort (1 no slide; no outcome: not in the clinical table, "
        "1 neither slide nor RNA in the inputs): TCGA-AA-0099, TCGA-ZZ-0001"
    ) in said
    assert "patients: 11 (-1: in no part of the splits that are given)" in said
    assert "events: 6 of 11 patients" in said
    drawn = "splits: splits has no validation part: 0.4 of each training part is set aside for it, "
    assert f"{drawn}whatever its site; splits: {{validation_fraction: 0}} takes the splits as they are given" in said
    write_config(study, splits=splits | {"validation_fraction": 0})
    check.run(study=[study / "study.yaml"])
    assert "has no validation part" not in capsys.readouterr().out


def test_a_validation_part_that_is_drawn_keeps_sites_whole_where_the_config_says_so(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (study / "clinical.csv").read_text().splitlines()
    sites = ["site", *(f"s{number // 2}" for number in range(12))]
    (study / "clinical.csv").write_text("\n".join(map(",".join, zip(rows, sites, strict=True))) + "\n")
    given = [
        f"0\t{fold}\tTCGA-AA-00{number:02d}\t{'test' if number // 2 % 2 == fold else 'train'}"
        for fold in range(2)
        for number in range(12)
    ]
    (study / "splits.tsv").write_text("\n".join(["repeat\tfold\tpatient_id\trole", *given]) + "\n")
    splits = {"folds": 2, "file": "splits.tsv", "validation_fraction": 0.4}
    write_config(study, splits=splits | {"group_by_site": True})
    content = yaml.safe_load((study / "study.yaml").read_text())
    content["inputs"]["site_column"] = "site"
    (study / "study.yaml").write_text(yaml.safe_dump(content))
    check.run(study=[study / "study.yaml"])
    said = capsys.readouterr().out
    assert "splits.tsv has no validation part: 0.4 of each training part is set aside for it, by whole sites; " in said
    assert "whatever its site" not in said


def test_training_parts_that_cannot_be_cut_for_models_that_read_risks_are_a_problem(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"a": {"architecture": "mlp"}, "b": {"architecture": "snn"}}
    splits = {"folds": 2, "validation_fraction": 0, "inner_folds": 4}
    write_config(study, models=models, splits=splits)
    check.run(study=[study / "study.yaml"])
    models |= {"sum": {"architecture": "risk-sum", "risks_of": ["a", "b"]}}
    write_config(study, models=models, splits=splits)
    with pytest.raises(InputError, match=r"splits\.inner_folds: 4: repeat 0, fold 0: .* at least 4 events .* found 3"):
        check.run(study=[study / "study.yaml"])
    capsys.readouterr()


def test_bags_that_a_model_cannot_take_are_a_problem(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (study / "slides.csv").read_text().splitlines()[1:]
    sheet = ["slide_id,patient_id,features"]
    for number, row in enumerate(rows):
        slide, patient, _ = row.split(",")
        np.save(study / f"{number}.npy", np.ones((4 + number, 8), dtype=np.float32))
        sheet.append(f"{slide},{patient},{number}.npy")
    (study / "slides.csv").write_text("\n".join(sheet) + "\n")
    write_config(study, models={"small": {"prototypes": 5}, "mlp": {"architecture": "mlp"}})
    check.run(study=[study / "study.yaml"])
    said = capsys.readouterr().out
    assert "features: ready-made, 8 per patch; 4 to 15 patches per patient, median 10" in said
    assert "expected: train: " in said
    write_config(study, models={"large": {"prototypes": 8}})
    with pytest.raises(InputError, match=r"models\.large: .*as prototypes \(now 8\)"):
        check.run(study=[study / "study.yaml"])


def test_low_coverage_is_a_warning(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check.run(study=[study / "study.yaml"])
    assert "warning" not in capsys.readouterr().out
    (study / "sets.gmt").write_text("S1\tx\tA\tB\tC\t" + "\t".join(f"N{number}" for number in range(9)) + "\n")
    check.run(study=[study / "study.yaml"])
    assert "warning: Only 25% of the genes of the 1 gene sets that are kept were measured" in capsys.readouterr().out
