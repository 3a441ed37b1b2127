"""Encoders of pathology with what their model cards ask for: architecture, normalisation, input size, pooling.

Facts from the cards on the Hugging Face hub as of 2025; weights are fetched from there, or given as a local file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_H_OPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
_VIRCHOW = {
    "img_size": 224,
    "init_values": 1e-5,
    "mlp_ratio": 5.3375,
    "mlp_layer": "SwiGLUPacked",
    "act_layer": "silu",
    "global_pool": "",
}


@dataclass(frozen=True)
class Preset:
    """An encoder and how it wants its tiles.

    hub: where its weights lie, as timm names it. architecture, options: the same model for local weights.
    normalisation: mean and std of RGB in 0 to 1.
    resize_px: edge to which a tile is resized as a whole, None leaves it; crop_px: edge of the centre that is kept.
    pooling: "model": the model gives one vector; "class+mean": the class token and the mean of the patch tokens.
    last_layer: the layer after which the features are averaged, where the model is cut off; None keeps all.
    width: features per tile.
    """

    hub: str
    architecture: str
    width: int
    options: Mapping[str, Any] = field(default_factory=dict)
    normalisation: tuple[tuple[float, float, float], tuple[float, float, float]] = _IMAGENET
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    resize_px: int | None = 224
    crop_px: int | None = None
    pooling: Literal["model", "class+mean"] = "model"
    last_layer: str | None = None


PRESETS = {
    # Chen et al., Nat. Med. 30 (2024) 850.
    "uni": Preset(
        hub="hf-hub:MahmoodLab/UNI",
        architecture="vit_large_patch16_224",
        width=1024,
        options={"init_values": 1e-5, "dynamic_img_size": True},
        interpolation="bilinear",
    ),
    "uni2-h": Preset(
        hub="hf-hub:MahmoodLab/UNI2-h",
        architecture="vit_giant_patch14_224",
        width=1536,
        options={
            "img_size": 224,
            "patch_size": 14,
            "depth": 24,
            "num_heads": 24,
            "init_values": 1e-5,
            "embed_dim": 1536,
            "mlp_ratio": 2.66667 * 2,
            "no_embed_class": True,
            "mlp_layer": "SwiGLUPacked",
            "act_layer": "silu",
            "reg_tokens": 8,
            "dynamic_img_size": True,
        },
        interpolation="bilinear",
    ),
    # Vorontsov et al., Nat. Med. 30 (2024) 2924. The card concatenates the class token and the mean of the patches.
    "virchow": Preset(
        hub="hf-hub:paige-ai/Virchow",
        architecture="vit_huge_patch14_224",
        width=2560,
        options=_VIRCHOW,
        pooling="class+mean",
    ),
    # Zimmermann et al., arXiv 2408.00738: the same with four register tokens, which are not averaged.
    "virchow2": Preset(
        hub="hf-hub:paige-ai/Virchow2",
        architecture="vit_huge_patch14_224",
        width=2560,
        options=_VIRCHOW | {"reg_tokens": 4},
        pooling="class+mean",
    ),
    # Saillard et al. 2024, Bioptimus. It has its own normalisation and one input size, 224 px at 0.5 µm.
    "h-optimus-0": Preset(
        hub="hf-hub:bioptimus/H-optimus-0",
        architecture="vit_giant_patch14_reg4_dinov2",
        width=1536,
        options={"img_size": 224, "init_values": 1e-5, "dynamic_img_size": False},
        normalisation=_H_OPTIMUS,
    ),
    # Xu et al., Nature 630 (2024) 181. The card resizes to 256 px and keeps the centre.
    "gigapath": Preset(
        hub="hf_hub:prov-gigapath/prov-gigapath",
        architecture="vit_giant_patch14_dinov2",
        width=1536,
        options={
            "img_size": 224,
            "patch_size": 16,
            "embed_dim": 1536,
            "depth": 40,
            "num_heads": 24,
            "init_values": 1e-5,
            "mlp_ratio": 5.33334,
        },
        resize_px=256,
        crop_px=224,
    ),
    # Filiot et al., medRxiv 2023.07.21.23292757, in timm's names; its class token.
    "phikon": Preset(
        hub="hf-hub:1aurent/vit_base_patch16_224.owkin_pancancer",
        architecture="vit_base_patch16_224",
        width=768,
        interpolation="bilinear",
    ),
    # Lu et al., Nat. Biomed. Eng. 5 (2021) 555: ImageNet's ResNet-50 cut off after its third layer, averaged.
    "resnet50-layer3": Preset(
        hub="resnet50.tv_in1k", architecture="resnet50", width=1024, resize_px=None, last_layer="layer3"
    ),
}
