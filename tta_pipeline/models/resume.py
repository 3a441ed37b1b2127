"""The state of a training between epochs, so that a job that was killed goes on to the same weights."""

import logging
import os
import pickle
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

SAVE_EVERY_S = 60.0  # a job that is killed loses this and the epoch that it was in, at most
FORMAT = 3  # to be raised where the same seed gives other weights than before: a state of older code is not taken up


@dataclass
class Progress:
    """What a training has reached.

    rows: the history, one row per finished epoch.
    best: loss, epoch (from 1) and weights of the best epoch so far, where one is to be chosen.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    best: tuple[float, int, dict[str, Tensor]] | None = None


@dataclass(frozen=True)
class Journal:
    """File of a training's state, written after an epoch if the last one was written `SAVE_EVERY_S` ago.

    Writing takes longer than the epoch does where a model of many weights sees few patients.

    made_from: what the training depends on; another one's file is not taken up.
    keeps_end: the state of the last epoch is always written, for others are trained before any artifact is.
    """

    path: Path
    made_from: str
    keeps_end: bool = False

    def is_due(self, *, since_s: float, at_end: bool) -> bool:
        """Whether the state is to be written, `since_s` seconds after it was, or after the training began."""
        return since_s >= SAVE_EVERY_S or (at_end and self.keeps_end)

    def save(self, progress: Progress, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Write the state; a file that is there is replaced at once, never half."""
        state = {
            "made_from": self.made_from,
            "rows": progress.rows,
            "best": progress.best,
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.", suffix=".tmp")
        os.close(handle)
        try:
            torch.save(state, temporary)
            Path(temporary).replace(self.path)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def load(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
        """Take up the state where there is one of this training, in place; else nothing has been reached."""
        state = self._read()
        if state is None:
            return Progress()
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([one.cpu() for one in state["random_cuda"]])
        log.info("going on after epoch %d of %s", len(state["rows"]), self.path)
        return Progress(rows=state["rows"], best=state["best"])

    def _read(self) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            log.warning("%s: expected the state of a training, found a file that cannot be read (%s)", self.path, error)
            return None
        if state.get("made_from") != self.made_from:
            log.info("%s is of a training with other options or inputs; starting anew", self.path)
            return None
        return state


def state_file(artifact: Path, *, number: int | None = None) -> Path:
    """Where the state of a training is kept until its artifact is written; `number`: of one combination of a search."""
    return artifact.with_name(f"{artifact.name}.partial" if number is None else f"{artifact.name}.{number}.partial")


def remove_states(artifact: Path) -> None:
    """The artifact is written: no state of its trainings is left, nor of those that another recipe had begun."""
    own = re.compile(rf"\.?{re.escape(artifact.name)}(\.\d+)?\.partial(\.\w+\.tmp)?")
    for path in artifact.parent.iterdir():
        if own.fullmatch(path.name):
            path.unlink(missing_ok=True)
