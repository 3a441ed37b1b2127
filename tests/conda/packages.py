"""Tiny conda packages: archives of symbolic links to what is installed for the interpreter that runs the tests."""

import io
import json
import sys
import tarfile
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

WITNESS = '''\
"""Says at the end of a stage where its interpreter and its modules lay."""

import atexit
import os
import sys


def tell():
    if "tta_pipeline" in sys.modules:
        files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        foreign = sorted(file for file in files if file and "site-packages" in file and not file.startswith(sys.prefix))
        activated = os.environ.get("CONDA_PREFIX")
        print(f"witness prefix={sys.prefix} activated={activated} foreign={foreign}", file=sys.stderr)


atexit.register(tell)
'''


@dataclass(frozen=True)
class Package:
    """What one archive holds: `links` maps paths in the environment to their targets, `texts` to their contents."""

    name: str
    version: str
    depends: tuple[str, ...] = ()
    build: str = "tests_0"
    build_number: int = 0
    noarch: str | None = None
    links: dict[str, Path] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def write(self, channel: Path, *, platform: str) -> None:
        """Write the archive below the channel's folder of its platform."""
        folder = channel / (platform if self.noarch is None else "noarch")
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(folder / f"{self.name}-{self.version}-{self.build}.tar.bz2", "w:bz2") as archive:
            _add_text(archive, "info/index.json", json.dumps(self._index(folder.name)))
            _add_text(archive, "info/paths.json", json.dumps({"paths": self._paths(), "paths_version": 1}))
            for path, text in self.texts.items():
                _add_text(archive, path, text)
            for path, target in self.links.items():
                entry = tarfile.TarInfo(path)
                entry.type, entry.linkname = tarfile.SYMTYPE, str(target)
                archive.addfile(entry)

    def _index(self, subdir: str) -> dict[str, object]:
        index: dict[str, object] = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": self.build_number,
            "depends": list(self.depends),
            "subdir": subdir,
        }
        return index if self.noarch is None else index | {"noarch": self.noarch}

    def _paths(self) -> list[dict[str, str]]:
        links = [{"_path": path, "path_type": "softlink"} for path in self.links]
        return links + [{"_path": path, "path_type": "hardlink"} for path in self.texts]


def python_package() -> Package:
    """The interpreter: a link beside which `pyvenv.cfg` says that its site-packages are the environment's."""
    base = Path(sys._base_executable).resolve()
    site = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    texts = {
        "pyvenv.cfg": f"home = {base.parent}\ninclude-system-site-packages = false\n",
        f"{site}/witness_of_tests.py": WITNESS,
        f"{site}/witness_of_tests.pth": "import witness_of_tests\n",
    }
    return Package("python", ".".join(map(str, sys.version_info[:3])), links={"bin/python": base}, texts=texts)


def installed_package(name: str, *, conda_names: dict[str, str]) -> Package:
    """A distribution that is installed here, as a conda package that links to its modules.

    It depends on what the distribution requires, with the bounds; names that `conda_names` lacks stay PyPI's.
    """
    distribution = metadata.distribution(name)
    tops = {Path(str(file)).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
    required = [(conda_names.get(key, key), wanted) for key, wanted in requirements(name).items()]
    return Package(
        name=conda_names.get(name, name),
        version=Version(distribution.version).public,
        depends=("python", *(f"{key} {wanted.specifier}".rstrip() for key, wanted in required)),
        noarch="python",
        links={f"site-packages/{top}": Path(str(distribution.locate_file(top))) for top in sorted(tops)},
    )


def requirements(name: str, extras: frozenset[str] = frozenset()) -> dict[str, Requirement]:
    """What a distribution requires here by canonical name, with what the extras that it names require in turn."""
    found: dict[str, Requirement] = {}
    for wanted in map(Requirement, metadata.requires(name) or ()):
        environments = [default_environment() | {"extra": extra} for extra in ("", *extras)]
        if wanted.marker is None or any(wanted.marker.evaluate(environment) for environment in environments):
            found[canonicalize_name(wanted.name)] = wanted
            if wanted.extras:
                found = requirements(wanted.name, frozenset(wanted.extras)) | found
    return found


def closure(names: list[str]) -> set[str]:
    """The distributions that these need, themselves included."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += requirements(name)
    return found


def _add_text(archive: tarfile.TarFile, path: str, text: str) -> None:
    content = text.encode()
    entry = tarfile.TarInfo(path)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
