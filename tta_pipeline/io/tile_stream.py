"""The tiles of one slide, decoded ahead by threads while the caller works on those before."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tta_pipeline.io.slide import Slide


def stream_tiles(
    slide: Slide, coords: NDArray[np.int32], *, edge_level0_px: float, tile_size_px: int, batch_size: int, threads: int
) -> Iterator[NDArray[np.uint8]]:
    """Read tiles in the order of `coords`, in batches.

    Tiles are resized with a Lanczos filter widened by the reduction (Pillow's), which averages over the pixels that
    fall into one. At most two batches are decoded ahead, so memory does not depend on the number of tiles.

    Parameters
    ----------
    coords
        int32 (n, 2), x and y of the upper-left corners in level-0 pixels.
    edge_level0_px
        Exact edge of a tile in level-0 pixels; not rounded.
    tile_size_px
        Edge of what is returned.
    batch_size
        Tiles per batch; the last one may be smaller.
    threads
        Threads that read and decode.

    Yields
    ------
    uint8 (batch, tile_size_px, tile_size_px, 3).

    Raises
    ------
    SlideError
        A tile cannot be decoded.
    """

    def read(corner: NDArray[np.int32]) -> NDArray[np.uint8]:
        return slide.read(
            left_level0=int(corner[0]),
            top_level0=int(corner[1]),
            size_level0=(edge_level0_px, edge_level0_px),
            size_px=(tile_size_px, tile_size_px),
            resampling=Image.Resampling.LANCZOS,
        )

    waiting: deque[Future[NDArray[np.uint8]]] = deque()
    corners = iter(coords)
    with ThreadPoolExecutor(threads, thread_name_prefix="tiles") as pool:
        try:
            while True:
                wanted = 3 * batch_size - len(waiting)
                waiting.extend(pool.submit(read, corner) for corner in islice(corners, wanted))
                if not waiting:
                    return
                yield np.stack([waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))])
        finally:
            for future in waiting:
                future.cancel()
