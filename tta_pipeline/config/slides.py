"""The sections of what is made of a slide."""

from typing import Any, Literal

from pydantic import Field, model_validator

from tta_pipeline.section import Fraction, Section, StudyPath


class Tiles(Section):
    """Where the tissue is, and the grid of tiles on it."""

    mpp: float = Field(0.5, gt=0.05, lt=20, description="micrometres per pixel of a tile")
    max_upsampling: float = Field(
        1.05,
        ge=1,
        le=4,
        description="a slide whose own µm per pixel exceed `mpp` by more than this factor is bad: it was scanned too "
        "coarsely for such tiles",
    )
    tile_size_px: int = Field(256, ge=16, le=4096, description="tile edge in pixels at `mpp`")
    overlap_px: int = Field(0, ge=0, description="overlap of neighbouring tiles in pixels at `mpp`")
    min_tissue: Fraction = Field(0.5, description="fraction of a tile's area that must be tissue")
    tissue: Literal["stain", "otsu"] = Field(
        "stain",
        description="stain: saturation and optical density, without ink of pens; otsu: Otsu's threshold of saturation "
        "alone. A slide with a mask in the sheet uses that",
    )
    mask_mpp: float = Field(
        8.0, gt=0.5, le=64, description="µm per pixel of the tissue mask; the slide's own where that is coarser"
    )
    min_object_um2: float = Field(20_000.0, ge=0, description="tissue pieces below this area are dropped, in µm²")
    max_hole_um2: float = Field(20_000.0, ge=0, description="holes below this area are filled, in µm²")
    min_focus: float = Field(
        50.0,
        ge=0,
        description="least variance of the Laplacian of a tile at 1 µm per pixel (or the slide's or the tile's own, "
        "where coarser), of grey values 0 to 255: sharp tissue has thousands, 2 µm out of focus below 60; 0: not used",
    )
    max_tiles: int | None = Field(
        None, ge=1, description="tiles kept per slide, a seeded sample that is even over the tissue; null keeps all"
    )
    seed: int = Field(0, ge=0, description="seed of that sample")
    mpp_from_objective: bool = Field(
        False, description="a slide that says nothing but its objective power P has 10/P µm per pixel (40x: 0.25)"
    )
    overlays: bool = Field(
        True, description="also write overlays/{slide_id}.png: outline of the tissue, kept tiles, others with reason"
    )

    @model_validator(mode="after")
    def _overlap_below_size(self) -> "Tiles":
        if self.overlap_px >= self.tile_size_px:
            raise ValueError(f"overlap_px must be below tile_size_px = {self.tile_size_px}, found {self.overlap_px}")
        return self


class Features(Section):
    """The encoder of tiles."""

    encoder: str = Field(
        "resnet50.a1_in1k",
        description="timm model name, hf-hub: id, or a preset: uni, uni2-h, virchow, virchow2, h-optimus-0, gigapath, "
        "phikon, resnet50-layer3",
    )
    encoder_options: dict[str, Any] = Field(
        {}, description="keyword arguments of timm.create_model that the model's card asks for, such as init_values"
    )
    weights: StudyPath | None = Field(
        None, description="local weights, .safetensors or a state dict of torch (.pth); null downloads from the hub"
    )
    stain: Literal["none", "macenko", "reinhard"] = Field(
        "none", description="stain normalisation of each tile, by the package torchstain, which is to be installed"
    )
    stain_target: StudyPath | None = Field(None, description="picture of a tile whose stain all tiles are given")
    batch_size: int = Field(64, ge=1, description="tiles per forward pass")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="auto: bf16 on CUDA, else fp32")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA when there is one")
    decode_threads: int = Field(2, ge=1, description="threads that read tiles while the encoder works")
    reader: Literal["auto", "openslide"] = Field(
        "auto", description="auto: compressed JPEG and JPEG 2000 tiles where their layout is known, OpenSlide elsewhere"
    )

    @model_validator(mode="after")
    def _stain_has_a_target(self) -> "Features":
        if (self.stain == "none") != (self.stain_target is None):
            raise ValueError("stain and stain_target go together: give both, or neither")
        return self
