"""Real slides cut off at any byte and with bytes flipped: no crash, no hang, no half-written file, no blank tile kept.

Each variant goes through tiles and features in a process of its own batch, so that a crash of a C library fails the
test instead of ending it.
"""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import ROOT
from tta_pipeline.config import BadSlides, Features, Tiles
from tta_pipeline.errors import InputError
from tta_pipeline.io import artifacts, tables
from tta_pipeline.io.slide import open_slide
from tta_pipeline.models.torchvision_import import import_torchvision
from tta_pipeline.stages import features, tiles

NAMES = {"cmu-1-small-region.svs": None, "tcga-cr-7395-01a-01-ts1.svs": 0.25}
SECONDS = 240
CUTS = (0.0, 0.0001, 0.003, 0.1, 0.4, 0.8, 0.97, 0.9999)
FLIPS = 12


def variants(content: bytes, *, seed: int):
    """Name -> damaged content: cut off, or with a run of bytes overwritten, near the start and anywhere."""
    generator = np.random.default_rng(seed)
    for part in CUTS:
        yield f"cut-{part}", content[: int(part * len(content))]
    for number in range(FLIPS):
        damaged = bytearray(content)
        limit = 5000 if number % 3 == 0 else len(content) - 400
        start = int(generator.integers(0, limit))
        length = int(generator.choice([1, 16, 300]))
        damaged[start : start + length] = generator.integers(0, 256, size=length, dtype=np.uint8).tobytes()
        yield f"flip-{number}", bytes(damaged)
    yield "zeros-behind-the-middle", content[: len(content) // 2] + bytes(len(content) - len(content) // 2)


def write_variants(folder: Path, real_data: Path, name: str) -> list[str]:
    content = (real_data / "slides" / name).read_bytes()
    written = []
    for seed, (variant, damaged) in enumerate(variants(content, seed=len(name))):
        (folder / f"{variant}.svs").write_bytes(damaged)
        written.append(f"{variant},p{seed},{variant}.svs,{NAMES[name] or ''}")
    (folder / "slides.csv").write_text("slide_id,patient_id,path,mpp\n" + "\n".join(written) + "\n")
    return [line.split(",")[0] for line in written]


def work(folder: Path) -> None:
    """What the test runs in another process."""
    tiles.run(
        slides=folder / "slides.csv",
        out=folder / "tiles",
        manifest=folder / "tiles.tsv",
        quality=folder / "quality.tsv",
        config=Tiles(),
        bad_slides=BadSlides(policy="exclude"),
    )
    config = Features(encoder="test_resnet", weights=folder / "w.safetensors", device="cpu")
    features.run(
        slides=folder / "slides.csv",
        tiles=folder / "tiles.tsv",
        out=folder / "features",
        manifest=folder / "features.tsv",
        config=config,
        bad_slides=BadSlides(policy="exclude"),
    )


@pytest.mark.real
@pytest.mark.parametrize("name", NAMES)
def test_damaged_slides_are_used_or_refused_with_a_reason(tmp_path, real_data, name):
    import_torchvision()
    import timm

    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), tmp_path / "w.safetensors")
    slide_ids = write_variants(tmp_path, real_data, name)
    done = subprocess.run(
        [sys.executable, "-m", "tests.stages.test_damaged_slides", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    manifest = tables.read_table(tmp_path / "features.tsv", columns=tables.MANIFEST).set_index("slide_id")
    assert list(manifest.index) == slide_ids
    assert all(
        reason.startswith(f"{slide_id}: expected") for slide_id, reason in manifest["excluded"].items() if reason
    )
    assert manifest.loc["cut-0.1", "excluded"]
    assert manifest.loc["zeros-behind-the-middle", "excluded"]
    assert not list(tmp_path.rglob("*.tmp"))
    assert {path.stem for path in (tmp_path / "features").glob("*.h5")} == set(
        manifest.index[manifest["excluded"] == ""]
    )
    for slide_id in manifest.index[manifest["excluded"] == ""]:
        no_tile_is_blank(tmp_path, slide_id, mpp=NAMES[name])


def no_tile_is_blank(folder: Path, slide_id: str, *, mpp: float | None) -> None:
    grid = artifacts.read_tiles(folder / "tiles" / f"{slide_id}.h5")
    edge = 256 * 0.5 / float(grid.attributes["mpp_level0"])
    with open_slide(folder / f"{slide_id}.svs", slide_id=slide_id, mpp=mpp) as slide:
        for left, top in grid.coords:
            tile = slide.read_tile(left_level0=int(left), top_level0=int(top), edge_level0=edge, edge_px=256)
            assert tile.std() > 5, (slide_id, left, top)


def sheet(folder: Path, *rows: str) -> Path:
    (folder / "slides.csv").write_text("slide_id,patient_id,path,mpp\n" + "\n".join(rows) + "\n")
    return folder / "slides.csv"


def run_tiles(folder: Path) -> dict[str, str]:
    tiles.run(
        slides=folder / "slides.csv",
        out=folder / "tiles",
        manifest=folder / "tiles.tsv",
        quality=folder / "quality.tsv",
        config=Tiles(),
        bad_slides=BadSlides(policy="exclude"),
    )
    table = tables.read_table(folder / "tiles.tsv", columns=tables.MANIFEST)
    return dict(zip(table["slide_id"], table["excluded"], strict=True))


@pytest.mark.real
def test_wrong_suffixes_and_odd_paths(tmp_path, real_data):
    """OpenSlide goes by content; a name with spaces and letters beyond ASCII is a name."""
    folder = tmp_path / "Schnitte Müller n° 7"
    folder.mkdir()
    content = (real_data / "slides" / "cmu-1-small-region.svs").read_bytes()
    for name in ("ärmel 1.svs", "two.jpg", "three"):
        (folder / name).write_bytes(content)
    (folder / "picture.svs").write_bytes((next((real_data / "thumbnails").glob("*.jpg"))).read_bytes())
    sheet(folder, "a,p1,ärmel 1.svs,", "b,p2,two.jpg,", "c,p3,three,", "d,p4,picture.svs,0.5")
    excluded = run_tiles(folder)
    assert (excluded["a"], excluded["b"], excluded["c"]) == ("", "", "")
    assert excluded["d"].startswith("d: expected a slide that OpenSlide reads, found ")


@pytest.mark.real
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("a,p1,s.svs,0",), r"mpp '0' is not between 0.05 and 20.0"),
        (("a,p1,s.svs,25",), r"mpp '25' is not between 0.05 and 20.0"),
        (("a,p1,s.svs,", "a,p2,t.svs,"), r"lines 2 and 3: slide a is listed 2 times|slide a is listed 2 times"),
        (("a,p1,s.svs,", "b,p2,s.svs,"), r"s\.svs is listed 2 times"),
        (("../a,p1,s.svs,",), r"slide_id '\.\./a' is no safe file name"),
    ],
)
def test_sheets_that_cannot_be_meant(tmp_path, real_data, rows, message):
    for name in ("s.svs", "t.svs"):
        (tmp_path / name).write_bytes((real_data / "slides" / "cmu-1-small-region.svs").read_bytes())
    sheet(tmp_path, *rows)
    with pytest.raises(InputError, match=message):
        run_tiles(tmp_path)


@pytest.mark.real
@pytest.mark.parametrize("room", [200, 5_000, 25_000])
def test_a_full_disk_leaves_no_half_written_file(tmp_path, real_data, room):
    """A limit on the size of files fails a write as a full disk does; the next run goes on."""
    (tmp_path / "s.svs").write_bytes((real_data / "slides" / "cmu-1-small-region.svs").read_bytes())
    sheet(tmp_path, "s,p,s.svs,")
    command = [sys.executable, "-m", "tta_pipeline", "tiles", "--config", "{}", "--bad-slides", "{}"]
    command += ["--slides", str(tmp_path / "slides.csv"), "--out", str(tmp_path / "tiles")]
    command += ["--manifest", str(tmp_path / "m.tsv"), "--quality", str(tmp_path / "q.tsv")]

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert "error: expected room for the results, found a full disk" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m.tsv").exists()
    assert not list(tmp_path.rglob("*.tmp"))
    for path in (tmp_path / "tiles").rglob("*.h5"):
        artifacts.read_tiles(path)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert len(artifacts.read_tiles(tmp_path / "tiles" / "s.h5").coords) == 34


if __name__ == "__main__":
    work(Path(sys.argv[1]))
