"""The device that a config key names."""

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
