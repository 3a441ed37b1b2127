"""How far a job is: tiles done of all, tiles per second, time left, and what it waited for."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

T = TypeVar("T")
_TERMINAL_SECONDS, _LOG_SECONDS = 0.5, 30.0


class Throughput:
    """A progress bar for a person at a terminal, a line every 30 s elsewhere, and a summary at the end."""

    def __init__(self, *, total: int):
        self._seconds_waited = 0.0
        self._at_terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total, unit="tiles", desc="tiles", mininterval=_TERMINAL_SECONDS, disable=not self._at_terminal
        )
        self._total, self._done = total, 0
        self._started = self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        seconds = time.monotonic() - self._started
        if error is None and self._done:
            waited = 100 * self._seconds_waited / seconds
            log.info(
                "%d tiles in %.1f s, %.1f tiles/s; %.0f %% of the time waiting for tiles to be decoded",
                *(self._done, seconds, self._done / seconds, waited),
            )

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """The same items; the time until each comes is counted as waiting."""
        iterator = iter(items)
        while True:
            started = time.monotonic()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._seconds_waited += time.monotonic() - started
            yield item

    def add(self, tiles: int) -> None:
        """Count tiles as done."""
        self._done += tiles
        self._bar.update(tiles)
        now = time.monotonic()
        if not self._at_terminal and now - self._told >= _LOG_SECONDS:
            self._told = now
            rate = self._done / (now - self._started)
            left = (self._total - self._done) / rate
            log.info("%d of %d tiles, %.1f tiles/s, %.0f s left", self._done, self._total, rate, left)
