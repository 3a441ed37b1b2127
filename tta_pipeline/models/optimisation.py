"""AdamW with its schedule, the same for every model."""

import math

import torch
from torch import nn


def adamw(model: nn.Module, *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW that decays weights, but neither biases nor the scales of normalisation layers."""
    kept = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name.endswith("bias") or isinstance(module, nn.LayerNorm)
    }
    groups = [
        {"params": [p for p in model.parameters() if id(p) not in kept], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if id(p) in kept], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate)


def learning_rate_at(step: int, *, steps: int, warmup_fraction: float) -> float:
    """Part of the peak learning rate at a step of 0 .. steps - 1: linear warm-up to 1, then half a cosine to 0."""
    warmup = round(warmup_fraction * steps)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
