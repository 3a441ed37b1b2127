"""The house: who may import whom, and that one word names everything of a stage."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tta_pipeline.cli import STAGES
from tta_pipeline.config import Study

PACKAGE = ROOT / "tta_pipeline"
# Layer -> layers of the package that it may import. `errors` is open to everybody.
MAY_IMPORT = {
    "errors": set(),
    "section": set(),
    "model_sections": {"model_sections", "section"},
    "config": {"config", "section", "model_sections"},
    "numerics": {"numerics"},
    "io": {"io", "config"},
    "models": {"models", "numerics", "config", "model_sections"},
    "reporting": {"reporting", "io", "numerics", "config"},
    "stages": {"stages", "reporting", "models", "io", "numerics", "config", "model_sections"},
    "commands": {"commands", "stages", "reporting", "models", "io", "numerics", "config"},
    "cli": {"stages", "commands", "config", "section"},
    "manual": {"config", "section", "model_sections"},
    "__main__": {"cli"},
    "__init__": set(),
}
WITHOUT_TORCH = {"io", "reporting", "config", "errors", "cli"}
FILE_LIBRARIES = {"h5py", "openslide"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """Full names of what a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_layers(path: Path) -> set[str]:
    names = [name.split(".") for name in imports(path) if name.startswith("tta_pipeline.")]
    return {parts[1] for parts in names} - {"errors", "__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_layers(path: Path) -> None:
    assert own_layers(path) <= MAY_IMPORT[layer(path)]


@pytest.mark.parametrize("path", [p for p in MODULES if layer(p) == "stages"], ids=lambda path: path.stem)
def test_no_stage_imports_a_stage(path: Path) -> None:
    """They may share a module that is none: one without a word of its own on the command line."""
    shared = [name.split(".")[2] for name in imports(path) if name.startswith("tta_pipeline.stages.")]
    assert not set(shared) & set(STAGES)


@pytest.mark.parametrize("path", [p for p in MODULES if layer(p) != "io"], ids=str)
def test_only_io_opens_artifacts_and_slides(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & FILE_LIBRARIES


@pytest.mark.parametrize(
    "path", [p for p in MODULES if layer(p) in {"io", "reporting", "config", "errors", "cli"}], ids=str
)
def test_no_torch_below_the_models(path: Path) -> None:
    allowed = {"torch"} if path.name == "feature_arrays.py" else set()  # only torch reads the .pt files of others
    assert not {name.split(".")[0] for name in imports(path)} & {"torch", "torchvision", "timm"} - allowed


def test_only_artifacts_names_a_dataset() -> None:
    calls = [p for p in MODULES if "create_dataset(" in p.read_text(encoding="utf-8")]
    assert [path.name for path in calls] == ["artifacts.py"]


@pytest.mark.parametrize("stage", STAGES)
def test_one_word_names_everything_of_a_stage(stage: str) -> None:
    assert (PACKAGE / "stages" / f"{stage}.py").is_file()
    assert stage in Study.model_fields
    assert (ROOT / "tests" / "stages" / f"test_{stage}.py").is_file()
    rule = (ROOT / "workflow" / "rules" / f"{stage}.smk").read_text(encoding="utf-8")
    assert rule.startswith(f"rule {stage}:")
    for directive in ("input", "output", "params", "log", "benchmark", "conda", "resources", "threads", "shell"):
        assert f"    {directive}:" in rule


def test_package_modules_are_not_hidden_in_init() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert all(isinstance(node, (ast.Expr, ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)) for node in body)
