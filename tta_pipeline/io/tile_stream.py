"""The tiles of many slides as one stream of batches, decoded ahead by threads while the caller works on those before.

A batch may hold tiles of several slides, so that the last tiles of a slide do not make a small batch. A slide that
cannot be read is reported with its error; the stream goes on with the next.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tta_pipeline.errors import SlideError
from tta_pipeline.io.slide import Slide

RGB = NDArray[np.uint8]
# Batches that are being decoded while the caller works on the one before them.
_AHEAD = 2
# Slides in one batch; it ends early where tiny slides follow each other, so that few are open at once.
_SLIDES_PER_BATCH = 4


@dataclass(frozen=True)
class Request:
    """The tiles to read of one slide.

    open: opens the slide; called once, in a thread of the stream.
    coords: int32 (n, 2), x and y of the upper-left corners in level-0 pixels; n >= 1.
    edge_level0_px: exact edge of a tile in level-0 pixels; not rounded.
    """

    slide_id: str
    open: Callable[[], AbstractContextManager[Slide]]
    coords: NDArray[np.int32]
    edge_level0_px: float


class SlideRead:
    """A slide in the stream. error: why it cannot be read, or None; its tiles are worthless then."""

    def __init__(self, request: Request):
        self.request = request
        self.error: SlideError | None = None
        self._stack = ExitStack()
        self._slide: Future[Slide] = Future()

    def open(self) -> None:
        """Open the slide, in the thread of the caller."""
        try:
            self._slide.set_result(self._stack.enter_context(self.request.open()))
        except BaseException as error:  # handed on to whoever waits for the slide
            self._slide.set_exception(error)

    def read(self, row: int, *, out: RGB, resample: Callable[..., None]) -> None:
        """Read one tile into `out`, or note why it cannot be read; waits until the slide is open."""
        if self.error is not None:
            return
        left, top = self.request.coords[row]
        try:
            pixels, factor = self._slide.result().read_square(
                left_level0=int(left), top_level0=int(top), edge_level0=self.request.edge_level0_px, edge_px=len(out)
            )
        except SlideError as error:
            self.error = error
            return
        resample(pixels, factor=factor, out=out)

    def close(self) -> None:
        """Close the slide; again does nothing."""
        self._stack.close()


@dataclass(frozen=True)
class Part:
    """Consecutive tiles of one slide within a batch: `rows` of the batch."""

    slide: SlideRead
    rows: slice


@dataclass(frozen=True)
class Batch:
    """Tiles, uint8 (batch, tile_size_px, tile_size_px, 3), and whose they are, in the order of the requests."""

    pixels: RGB
    parts: tuple[Part, ...]

    @property
    def slides(self) -> list[SlideRead]:
        """Slides with tiles in the batch."""
        return [part.slide for part in self.parts]


def stream_tiles(
    requests: Iterable[Request],
    *,
    batch_size: int,
    threads: int,
    allocate: Callable[[int], RGB],
    resample: Callable[..., None],
) -> Iterator[Batch]:
    """Read the tiles of all requests, in their order.

    At most two batches are decoded ahead, a batch holds tiles of at most four slides, and requests are taken as they
    are needed, so that neither memory nor open files depend on the number of tiles or slides.

    Parameters
    ----------
    batch_size
        Tiles per batch; the last one may be smaller, and one that would hold more than four slides.
    threads
        Threads that read, decode and resize.
    allocate
        Gives memory for a number of tiles, uint8 (number, tile_size_px, tile_size_px, 3); a batch's own.
    resample
        `numerics.resampling.resample`, or another function with its parameters.

    Yields
    ------
    Batches. Once `slide.error` is set, the tiles of that slide are worthless, and not all of them come.
    """
    ahead: deque[tuple[Batch, list[Future[None]]]] = deque()
    with ExitStack() as stack:
        stack.callback(lambda: _close(slide for batch, _ in ahead for slide in batch.slides))
        pool = stack.enter_context(_pool(threads))
        tiles = _batches(requests, pool, batch_size=batch_size)
        while True:
            while len(ahead) <= _AHEAD and (rows := next(tiles, None)):
                ahead.append(_submit(rows, pool, pixels=allocate(len(rows)), resample=resample))
            if not ahead:
                return
            for future in ahead[0][1]:
                future.result()
            batch, _ = ahead.popleft()
            goes_on = ahead[0][0].slides[:1] if ahead else []
            _close(slide for slide in batch.slides if slide not in goes_on)
            yield batch


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that leave what they have not begun when the caller stops early."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="tiles")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _tiles(requests: Iterable[Request], pool: ThreadPoolExecutor) -> Iterator[tuple[SlideRead, int]]:
    """Each tile as its slide and row. A slide is opened just before its first tile: threads begin in this order."""
    for request in requests:
        slide = SlideRead(request)
        pool.submit(slide.open)
        for row in range(len(request.coords)):
            if slide.error is not None:
                break
            yield slide, row


def _batches(
    requests: Iterable[Request], pool: ThreadPoolExecutor, *, batch_size: int
) -> Iterator[list[tuple[SlideRead, int]]]:
    batch: list[tuple[SlideRead, int]] = []
    slides = 0
    for slide, row in _tiles(requests, pool):
        batch.append((slide, row))
        slides += row == 0
        if len(batch) == batch_size or slides == _SLIDES_PER_BATCH:
            yield batch
            batch, slides = [], 0
    if batch:
        yield batch


def _submit(
    rows: list[tuple[SlideRead, int]], pool: ThreadPoolExecutor, *, pixels: RGB, resample: Callable[..., None]
) -> tuple[Batch, list[Future[None]]]:
    futures = [
        pool.submit(slide.read, row, out=out, resample=resample) for (slide, row), out in zip(rows, pixels, strict=True)
    ]
    parts, start = [], 0
    for slide, tiles in groupby(slide for slide, _ in rows):
        stop = start + len(list(tiles))
        parts.append(Part(slide=slide, rows=slice(start, stop)))
        start = stop
    return Batch(pixels=pixels, parts=tuple(parts)), futures


def _close(slides: Iterable[SlideRead]) -> None:
    for slide in slides:
        slide.close()
