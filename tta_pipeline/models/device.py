"""The device that a config key names."""

import torch

from tta_pipeline.errors import InputError


def device_named(name: str, *, key: str) -> torch.device:
    """CPU, CUDA or, for "auto", CUDA where there is one and else the CPU.

    Raises
    ------
    InputError
        CUDA is asked for and there is none; names the key.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{key}: expected a CUDA device, found none. Use device: auto or cpu.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
