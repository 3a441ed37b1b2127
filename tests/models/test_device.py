"""Devices by name."""

import pytest
import torch

from tta_pipeline.errors import InputError
from tta_pipeline.models.device import device_named


def test_a_device_has_a_name() -> None:
    assert device_named("cpu", key="train.device").type == "cpu"
    assert device_named("auto", key="train.device").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_where_there_is_none() -> None:
    with pytest.raises(InputError, match=r"train\.device: expected a CUDA device, found none"):
        device_named("cuda", key="train.device")
