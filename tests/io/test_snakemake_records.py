"""What Snakemake noted of a job, and whether a newer input has another content."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from tta_pipeline.io.snakemake_records import has_changed

OLD = hashlib.sha256(b"old").hexdigest()


@pytest.mark.parametrize(
    ("note", "changed"),
    [
        (None, True),
        ("{", True),
        ({"input": ["results/in.tsv"], "input_checksums": {"results/in.tsv": f"sha256:{OLD}"}}, False),
        ({"input": ["results/in.tsv"], "input_checksums": {"results/in.tsv": f"sha256:{OLD[::-1]}"}}, True),
        ({"input": ["results/in.tsv"], "input_checksums": None}, True),
        ({"input": ["results/in.tsv"], "input_checksums": {}}, True),
        ({"input": ["results/other.tsv"], "input_checksums": {}}, False),
    ],
)
def test_the_note_of_the_output_decides(tmp_path: Path, note: object, changed: bool) -> None:
    source, output = tmp_path / "results" / "in.tsv", tmp_path / "results" / "out.h5"
    source.parent.mkdir()
    source.write_bytes(b"old")
    if note is not None:
        name = base64.urlsafe_b64encode(b"results/out.h5").decode()
        path = tmp_path / ".snakemake" / "metadata" / name
        path.parent.mkdir(parents=True)
        path.write_text(note if isinstance(note, str) else json.dumps(note))
    assert has_changed(source, since=output, directory=tmp_path) is changed
