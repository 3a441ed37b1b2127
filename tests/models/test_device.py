"""Devices by name."""

import pytest
import torch

from tta_pipeline.errors import InputError
from tta_pipeline.models.device import device_named


def test_a_device_has_a_name() -> None:
    assert device_named("cpu", key="train.device").type == "cpu"
    assert device_named("auto", key="train.device").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("free_gib", "job", "device"),
    [
        ((80, 80, 80), 0, "cuda:0"),
        ((80, 80, 80), 1, "cuda:1"),
        ((80, 80, 80), 5, "cuda:2"),
        ((70, 80, 80), 3, "cuda:1"),
        ((20, 10, 30), 0, "cuda:2"),
    ],
)
def test_of_several_devices_the_freest_and_for_jobs_that_start_at_once_different_ones(
    monkeypatch, free_gib, job, device
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free_gib))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free_gib[index] << 30, 80 << 30))
    assert str(device_named("auto", key="features.device", job=job)) == device


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none() -> None:
    with pytest.raises(InputError, match=r"train\.device: expected a CUDA device, found none"):
        device_named("cuda", key="train.device")
