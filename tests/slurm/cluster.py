"""A throw-away SLURM of two nodes on this machine, for root on Debian or Ubuntu: nodes are daemons, not machines.

`python -m tests.slurm.cluster up --folder DIR` starts it and `down --folder DIR` ends it; tests use `Cluster`. Clients
inside jobs look for the configuration in /etc/slurm alone, so it lies there while the cluster is up: where a
configuration lies there already, nothing is touched.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.slurm.configuration import CONFIGURATION, ETC, NODES, PORTS, write_configuration

PACKAGES = {"slurmctld": "slurm-wlm", "munged": "munge"}
ACCOUNTING_PACKAGES = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server"}


class CannotRunError(Exception):
    """SLURM cannot run on this machine, and why."""


@dataclass(frozen=True)
class Cluster:
    """A cluster whose spool, logs and sockets lie in `folder`, a short path that all may enter."""

    folder: Path
    accounting: bool

    def up(self) -> None:
        """Start all daemons and wait until both nodes are idle."""
        for name in ("run", "log", "state", *NODES):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        write_configuration(self.folder, accounting=self.accounting)
        self._start_munge()
        if self.accounting:
            self._start_database()
        run("slurmctld")
        for node in NODES:
            self.start_node(node)
        wait_for(lambda: self.idle_nodes() == set(NODES), what="two idle nodes")

    def down(self) -> None:
        """End what `up` started, by its pid files, jobs first, and take the configuration out of /etc/slurm."""
        # Backwards, and each of them also after one that failed.
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self.folder)
            for name in CONFIGURATION:
                stack.callback((ETC / name).unlink, missing_ok=True)
            for name in ("munged", "mariadbd", "slurmdbd", "slurmctld", *NODES):
                stack.callback(end, self.folder / "run" / f"{name}.pid")
            if (self.folder / "run" / "slurmctld.pid").exists():
                run("scancel", "--user=root")
                wait_for(lambda: not run("squeue", "--noheader").strip(), what="the end of all jobs")

    def start_node(self, node: str) -> None:
        """Start the daemon of a node, also of one that died."""
        run("slurmd", "-N", node)

    def kill_node(self, node: str) -> None:
        """Let a node die with its jobs, as a power cut would: nothing of it can tell the controller."""
        jobs = self.jobs(node)
        listed = "".join(run("scontrol", "listpids", job, node, check=False) for job in jobs)
        kill(int((self.folder / "run" / f"{node}.pid").read_text()))
        for pid in (*supervisors(jobs), *map(int, re.findall(r"^(\d+) ", listed, flags=re.MULTILINE))):
            kill(pid)

    def idle_nodes(self) -> set[str]:
        return set(run("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N", check=False).split())

    def jobs(self, node: str) -> list[str]:
        """Identifiers of the jobs that run on a node."""
        return run("squeue", "--noheader", "--states=R", f"--nodelist={node}", "--format=%i").split()

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        paths = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "run/munged.pid"}
        paths |= {"log-file": "log/munged.log", "seed-file": "munge.seed"}
        # --force: the folder's parent may be written by all.
        run("munged", "--force", *(f"--{name}={self.folder / path}" for name, path in paths.items()))

    def _start_database(self) -> None:
        data, at = self.folder / "mariadb", self.folder / "mariadb.socket"
        run("mariadb-install-db", "--user=root", f"--datadir={data}", "--skip-test-db")
        paths = {"datadir": data, "socket": at, "pid-file": self.folder / "run" / "mariadbd.pid"}
        where = [f"--port={PORTS['mariadbd']}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        command = ["mariadbd", "--no-defaults", "--user=root", *(f"--{name}={path}" for name, path in paths.items())]
        with (self.folder / "log" / "mariadbd.log").open("w") as log:
            subprocess.run(["setsid", "--fork", *command, *where], stdout=log, stderr=log, check=True)
        database = ("mariadb", f"--socket={at}", "--execute")
        wait_for(lambda: succeeds(*database, "select 1"), what="the database")
        run(
            *database,
            "create database slurm_acct_db; create user slurm@'127.0.0.1' identified by 'slurm'; "
            "grant all on slurm_acct_db.* to slurm@'127.0.0.1';",
        )
        run("slurmdbd")
        wait_for(lambda: succeeds("sacctmgr", "--noheader", "list", "cluster"), what="slurmdbd")
        run("sacctmgr", "--immediate", "add", "cluster", "tta")
        run("sacctmgr", "--immediate", "add", "account", "lab", "Cluster=tta")
        run("sacctmgr", "--immediate", "add", "user", "root", "Account=lab", "DefaultAccount=lab")


def install(*, accounting: bool) -> None:
    """Install what is missing by apt, after looking whether SLURM may run here at all.

    Raises
    ------
    CannotRunError
        Where this is no machine for a throw-away SLURM.
    """
    if os.geteuid() != 0:
        raise CannotRunError("not root, who alone can start SLURM's daemons")
    if (ETC / "slurm.conf").exists():
        raise CannotRunError(f"{ETC}/slurm.conf exists: this machine belongs to a cluster, or another run is using it")
    wanted = PACKAGES | (ACCOUNTING_PACKAGES if accounting else {})
    missing = [package for program, package in wanted.items() if shutil.which(program) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise CannotRunError(f"{', '.join(missing)} not installed, and no apt-get to install them")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        done = subprocess.run(
            ["apt-get", "--quiet=2", *command], env=quiet, capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            raise CannotRunError(f"apt-get {' '.join(command)} failed: {done.stderr.strip()[-300:]}")


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def wait_for(reached: Callable[[], bool], *, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


def kill(pid: int, signal_number: int = signal.SIGKILL) -> None:
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return


def supervisors(jobs: list[str]) -> list[int]:
    """Processes by which SLURM watches the steps of these jobs."""
    titles = tuple(f"slurmstepd: [{job}." for job in jobs)
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = file.read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if title.startswith(titles):
            found.append(int(file.parent.name))
    return found


def end(pid_file: Path) -> None:
    """End a daemon and wait until it has gone."""
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    kill(pid, signal.SIGTERM)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), what=f"the end of {pid_file.stem}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["up", "down"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--accounting", action="store_true")
    arguments = parser.parse_args()
    cluster = Cluster(arguments.folder, arguments.accounting)
    if arguments.action == "up":
        install(accounting=arguments.accounting)
        cluster.up()
    else:
        cluster.down()


if __name__ == "__main__":
    main()
