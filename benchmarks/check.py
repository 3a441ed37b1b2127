"""`tta-pipeline check` of a large generated study: 10,000 slides, and expression of 20,000 genes in 11,000 samples.

Slides are links to one small slide (give --slide a real one); the header of each is opened. The expression is that of
`benchmarks.expression`, genes in rows. Seconds and memory are those of the command as a user runs it.

Run from the root: python -m benchmarks.check --slide $TTA_SHARED_DATA/slides/cmu-1-small-region.svs
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from benchmarks.expression import write as write_expression


def write_study(folder: Path, *, slide: Path, slides: int, samples: int, genes: int) -> Path:
    """The config of a study of so many slides, one per patient, and its tables."""
    by_case, by_gene = write_expression(folder, samples=samples, genes=genes)
    by_case.unlink()
    rng = np.random.default_rng(0)
    cases = [f"TCGA-{number // 10000:02d}-{number % 10000:04d}" for number in range(slides)]
    (folder / "slides").mkdir()
    rows = ["slide_id,patient_id,path"]
    for case in cases:
        (folder / "slides" / f"{case}.svs").symlink_to(slide.resolve())
        rows.append(f"{case}-01Z-00-DX1,{case},slides/{case}.svs")
    (folder / "slides.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    times, events = rng.integers(30, 4000, size=slides), rng.random(slides) < 0.3
    clinical = [
        f"{case},{days},{int(event)},S{number % 300}"
        for number, (case, days, event) in enumerate(zip(cases, times, events, strict=True))
    ]
    lines = ["patient_id,time_days,event,site", *clinical]
    (folder / "clinical.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sets = [
        "\t".join([f"SET{number}", "generated", *(f"GENE{gene}" for gene in rng.integers(0, genes, size=80))])
        for number in range(300)
    ]
    (folder / "sets.gmt").write_text("\n".join(sets) + "\n", encoding="utf-8")
    inputs = {
        "slides": "slides.csv",
        "clinical": "clinical.csv",
        "expression": by_gene.name,
        "gene_sets": "sets.gmt",
        "site_column": "site",
    }
    study = folder / "study.yaml"
    content = {"inputs": inputs, "splits": {"group_by_site": True, "repeats": 2}}
    study.write_text(yaml.safe_dump(content), encoding="utf-8")
    return study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slide", type=Path, required=True)
    parser.add_argument("--slides", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=11_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        study = write_study(
            folder,
            slide=arguments.slide,
            slides=arguments.slides,
            samples=arguments.samples,
            genes=arguments.genes,
        )
        started = time.perf_counter()
        command = [sys.executable, "-m", "tta_pipeline", "check", "--study", study.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        print(done.stdout, done.stderr[-3000:], sep="")
        print(f"exit {done.returncode}, {seconds:.1f} s, {gb:.2f} GB")


if __name__ == "__main__":
    main()
