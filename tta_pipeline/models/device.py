"""The device that a config key names, and the library that multiplies matrices on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tta_pipeline.errors import InputError


def device_named(name: str, *, key: str, job: int = 0) -> torch.device:
    """CPU, CUDA or, for "auto", CUDA where there is one and else the CPU.

    Of several CUDA devices that the process sees, the one with the most free memory; of those that are equally free, as
    where several jobs start at once on an idle machine, the one that the job's number points at.

    Raises
    ------
    InputError
        CUDA is asked for and there is none; names the key.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{key}: expected a CUDA device, found none. Use device: auto or cpu.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.device_count() > 1:
        return torch.device(name, _most_free(job))
    return torch.device(name)


def _most_free(job: int) -> int:
    count = torch.cuda.device_count()
    free_gib = [torch.cuda.mem_get_info(device)[0] >> 30 for device in range(count)]
    return max(range(count), key=lambda device: (free_gib[device], -((device - job) % count)))


@contextmanager
def fast_products(device: torch.device) -> Iterator[None]:
    """Products of matrices by oneDNN on a CPU, where they are of single precision there; else as PyTorch has them.

    PyTorch leaves float32 products to MKL, which keeps the widest vectors to Intel's processors: on others that have
    AVX-512 oneDNN takes half of the time (`benchmarks/products.py`). The one way to it is to allow bfloat16 inside of
    products, which oneDNN takes up only on processors with matrix units for it. So a product is tried, and where it is
    that inexact, nothing is changed. Weights differ between the libraries as they do between processors, by rounding.

    References
    ----------
    torch.set_float32_matmul_precision in PyTorch's documentation.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cpu":
        torch.set_float32_matmul_precision("medium")
        if not _single_precision():
            torch.set_float32_matmul_precision(before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _single_precision() -> bool:
    """Whether a product of 256 x 256 is nearer to the exact one than bfloat16, with 8 bits, can be."""
    left, right = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0))
    exact = left.double() @ right.double()
    return bool(((left @ right).double() - exact).abs().max() < 1e-3)
