"""A small `conda` on py-rattler: the commands that Snakemake 9 calls, and no others.

    python tests/conda/client.py --root ROOT --channel-alias file:///channels env create --file FILE --prefix PREFIX

It solves, links and activates with rattler, the library of pixi, by conda's rules: channels by name below the alias,
strict priority, virtual packages with CONDA_OVERRIDE_CUDA. It stands in for the program `conda`, whose other options,
messages and solver it does not have. Nothing of this repository is imported, for it is run as a file.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

import yaml
from rattler import (
    Channel,
    ChannelConfig,
    ChannelPriority,
    RepoDataRecord,
    Subdir,
    VirtualPackage,
    VirtualPackageOverrides,
    install,
    solve,
)
from rattler.exceptions import SolverError
from rattler.shell import ActivationVariables, Shell, activate

OLDEST_VERSION_FOR_SNAKEMAKE = "24.7.1"


def main(arguments: list[str]) -> None:
    """Answer one command."""
    options = parser().parse_args(arguments)
    if options.command == "info":
        print(json.dumps({"conda_prefix": str(options.root), "platform": str(Subdir.current())}))
    elif options.command == "config":
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif options.command == "env":
        asyncio.run(create(file=options.file, prefix=options.prefix, alias=options.channel_alias, root=options.root))
    elif options.command == "shell.posix":
        print(activation(options.prefix))
    # Nothing is to be done for `clean`: rattler unpacks archives where they lie and keeps no copy of them.


def parser() -> argparse.ArgumentParser:
    """The options as Snakemake writes them; another spelling is an error."""
    top = argparse.ArgumentParser(prog="conda", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"conda {OLDEST_VERSION_FOR_SNAKEMAKE}")
    top.add_argument("--root", type=Path, required=True)
    top.add_argument("--channel-alias", required=True)
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("info").add_argument("--json", action="store_true", required=True)
    config = commands.add_parser("config")
    config.add_argument("--get", choices=["channel_priority"], required=True)
    config.add_argument("--json", action="store_true", required=True)
    env = commands.add_parser("env")
    env.add_argument("action", choices=["create"])
    env.add_argument("--quiet", action="store_true")
    env.add_argument("--no-default-packages", action="store_true")
    env.add_argument("--file", type=Path, required=True)
    env.add_argument("--prefix", type=Path, required=True)
    clean = commands.add_parser("clean")
    clean.add_argument("-y", action="store_true", required=True)
    clean.add_argument("--tarballs", action="store_true", required=True)
    shell = commands.add_parser("shell.posix")
    shell.add_argument("action", choices=["activate"])
    shell.add_argument("prefix", type=Path)
    return top


async def create(*, file: Path, prefix: Path, alias: str, root: Path) -> None:
    """Solve an environment file and link what was chosen into the prefix."""
    try:
        records = await solved(file, alias=alias)
    except SolverError as error:
        sys.exit(f"LibMambaUnsatisfiableError: {error}")
    await install(records, target_prefix=prefix, cache_dir=root / "pkgs", show_progress=False)


async def solved(file: Path, *, alias: str) -> list[RepoDataRecord]:
    """The packages that an environment file asks for."""
    wanted = yaml.safe_load(file.read_text(encoding="utf-8"))
    channels = [name for name in wanted["channels"] if name != "nodefaults"]
    return await solve(
        sources=[Channel(name, ChannelConfig(channel_alias=alias)) for name in channels],
        specs=wanted["dependencies"],
        virtual_packages=VirtualPackage.detect(VirtualPackageOverrides.from_env()),
        channel_priority=ChannelPriority.Strict,
    )


def activation(prefix: Path) -> str:
    """Commands for a POSIX shell that activate an environment."""
    if not (prefix / "conda-meta").is_dir():
        sys.exit(f"EnvironmentLocationNotFound: Not a conda environment: {prefix}")
    state = ActivationVariables(current_prefix=None, current_path=os.environ["PATH"].split(os.pathsep))
    return activate(prefix, state, Shell.bash).script


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(
        0
    )  # All is written. Threads of rattler that still let go of Python objects abort an interpreter that ends.
