"""Reading a large expression matrix, both ways round: labels, then the values of a tenth of the genes, beside pandas.

Run from the root: python -m benchmarks.expression --samples 11000 --genes 20000 --folder /tmp
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

READ_OURS = """
import sys
from pathlib import Path
from tta_pipeline.config import Inputs
from tta_pipeline.io.expression import read_expression, read_expression_index
path = Path(sys.argv[1])
inputs = Inputs(slides=path, clinical=path, gene_sets=path, expression=path)
if sys.argv[2] == "labels":
    print(len(read_expression_index(inputs)[0]))
else:
    print(read_expression(inputs, genes={f"GENE{n}" for n in range(0, int(sys.argv[3]), 12)}).shape)
"""
READ_PANDAS = """
import sys
import pandas as pd
genes = [f"GENE{n}" for n in range(0, int(sys.argv[3]), 12)]
if sys.argv[1].endswith("cases.csv"):
    print(pd.read_csv(sys.argv[1], usecols=["case", *genes], index_col="case").shape)
else:
    print(pd.read_csv(sys.argv[1], sep="\\t", index_col=0).loc[genes].T.shape)
"""


def write(folder: Path, *, samples: int, genes: int) -> list[Path]:
    """A case x gene table and Xena's genes x samples, of values such as 3.1416."""
    rng = np.random.default_rng(0)
    values = np.array([f"{value:.4f}" for value in rng.normal(3, 2, size=5000)])
    cases = [f"TCGA-{number // 10000:02d}-{number % 10000:04d}" for number in range(samples)]
    names = [f"GENE{number}" for number in range(genes)]
    by_case, by_gene = folder / "cases.csv", folder / "xena.tsv"
    with by_case.open("w") as file:
        file.write(",".join(["case", *names]) + "\n")
        for case in cases:
            file.write(",".join([case, *values[rng.integers(0, 5000, size=genes)]]) + "\n")
    with by_gene.open("w") as file:
        file.write("\t".join(["sample", *(f"{case}-01" for case in cases)]) + "\n")
        for name in names:
            file.write("\t".join([name, *values[rng.integers(0, 5000, size=samples)]]) + "\n")
    return [by_case, by_gene]


def measure(code: str, *arguments: str) -> tuple[float, float]:
    """Seconds and largest memory in GB of a fresh Python."""
    report = (
        "import resource, sys, time; started = time.perf_counter()\n" + code + "\n"
        "print('seconds', time.perf_counter() - started, "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)"
    )
    done = subprocess.run([sys.executable, "-c", report, *arguments], capture_output=True, text=True, check=True)
    _, seconds, gb = done.stdout.splitlines()[-1].split()
    return float(seconds), float(gb)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=11_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        for path in write(Path(name), samples=arguments.samples, genes=arguments.genes):
            print(f"{path.name}: {path.stat().st_size / 1e9:.2f} GB")
            for what, code, extra in (
                ("labels", READ_OURS, "labels"),
                ("values of every twelfth gene", READ_OURS, "values"),
                ("the same by pandas", READ_PANDAS, "values"),
            ):
                seconds, gb = measure(code, str(path), extra, str(arguments.genes))
                print(f"  {what}: {seconds:.1f} s, {gb:.2f} GB")


if __name__ == "__main__":
    main()
