"""Devices by name."""

import pytest
import torch

from tta_pipeline.errors import InputError
from tta_pipeline.models import device
from tta_pipeline.models.device import device_named, fast_products


def test_a_device_has_a_name() -> None:
    assert device_named("cpu", key="train.device").type == "cpu"
    assert device_named("auto", key="train.device").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("free_gib", "job", "chosen"),
    [
        ((80, 80, 80), 0, "cuda:0"),
        ((80, 80, 80), 1, "cuda:1"),
        ((80, 80, 80), 5, "cuda:2"),
        ((70, 80, 80), 3, "cuda:1"),
        ((20, 10, 30), 0, "cuda:2"),
    ],
)
def test_of_several_devices_the_freest_and_for_jobs_that_start_at_once_different_ones(
    monkeypatch, free_gib, job, chosen
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free_gib))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free_gib[index] << 30, 80 << 30))
    assert str(device_named("auto", key="features.device", job=job)) == chosen


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none() -> None:
    with pytest.raises(InputError, match=r"train\.device: expected a CUDA device, found none"):
        device_named("cuda", key="train.device")


def test_fast_products_are_of_single_precision_and_end_with_the_block() -> None:
    left, right = torch.randn(2, 300, 300, generator=torch.Generator().manual_seed(1))
    with fast_products(torch.device("cpu")):
        assert torch.get_float32_matmul_precision() in ("medium", "highest")
        torch.testing.assert_close(left @ right, (left.double() @ right.double()).float(), rtol=1e-4, atol=1e-4)
    assert torch.get_float32_matmul_precision() == "highest"
    with pytest.raises(KeyError), fast_products(torch.device("cpu")):
        raise KeyError
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("type_", "exact"), [("cpu", False), ("cuda", True)])
def test_less_than_single_precision_is_not_taken_nor_anything_changed_for_a_gpu(monkeypatch, type_, exact) -> None:
    monkeypatch.setattr(device, "_single_precision", lambda: exact)
    with fast_products(torch.device(type_)):
        assert torch.get_float32_matmul_precision() == "highest"
