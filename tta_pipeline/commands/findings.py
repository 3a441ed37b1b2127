"""What a check collects: lines to print, and every problem rather than the first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from tta_pipeline.errors import ArtifactError, InputError, SlideError

T = TypeVar("T")


@dataclass
class Findings:
    """Lines for the terminal, and problems that stand in the way of a run."""

    problems: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def attempt(self, read: Callable[[], T]) -> T | None:
        """What `read` gives, or None and its message among the problems."""
        with self.noting():
            return read()
        return None

    @contextmanager
    def noting(self, where: str = "") -> Iterator[None]:
        """What goes wrong within becomes one of the problems, after the words of `where`, and ends it."""
        try:
            yield
        except (InputError, ArtifactError, SlideError) as error:
            if f"{where}{error}" not in self.problems:  # two readers of one file say the same
                self.problems.append(f"{where}{error}")

    def say(self, line: str) -> None:
        """Add a line."""
        self.lines.append(line)
