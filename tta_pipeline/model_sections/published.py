"""Recipes that the models were published with."""

from typing import Any

# Keys of the section `train` that the models were published with. Batches of one patient whose gradients are summed
# over 32 are batches of 32 here: no layer looks across patients. Sources: the papers and the scripts of their code.
# Device, cache, checkpoint, ties and standardise_features belong to the study: they are those of the section `train`.
_ALL: dict[str, Any] = {"bins": 4, "gradient_clip": None}
_SURVPATH: dict[str, Any] = {  # Jaume et al., CVPR 2024: SurvPath and its tabular baselines
    **_ALL,
    "loss": "nll", "censored_weight": 0.5, "optimiser": "radam", "learning_rate": 5e-4, "weight_decay": 1e-4,
    "batch_size": 1, "epochs": 5, "schedule": "cosine", "warmup_fraction": 0.2, "sampling": "weighted",
    "patches": 4096,
}  # fmt: skip
_MCAT: dict[str, Any] = {  # Chen et al., ICCV 2021
    **_ALL,
    "loss": "nll", "censored_weight": 1.0, "optimiser": "adam", "learning_rate": 2e-4, "weight_decay": 1e-5,
    "batch_size": 32, "epochs": 20, "schedule": "constant", "warmup_fraction": 0.0, "sampling": "weighted",
    "patches": 1_000_000,
}  # fmt: skip
_CMTA: dict[str, Any] = {  # Zhou and Chen, ICCV 2023; it steps after each patient
    **_ALL,
    "loss": "nll", "censored_weight": 1.0, "optimiser": "sgd", "learning_rate": 1e-3, "weight_decay": 1e-5,
    "batch_size": 1, "epochs": 30, "schedule": "constant", "warmup_fraction": 0.0, "sampling": "weighted",
    "patches": 1_000_000,
}  # fmt: skip
_MMP: dict[str, Any] = {  # Song et al., ICML 2024
    **_ALL,
    "loss": "cox", "optimiser": "adamw", "learning_rate": 1e-4, "weight_decay": 1e-5, "batch_size": 64, "epochs": 50,
    "schedule": "cosine", "warmup_fraction": 0.02, "sampling": "stratified", "patches": 1_000_000,
}  # fmt: skip
_PIBD: dict[str, Any] = {  # Zhang, Xu et al., ICLR 2024; its weight decay of 1e-3 never reached the optimiser
    **_ALL,
    "loss": "nll", "censored_weight": 0.5, "optimiser": "adam", "learning_rate": 5e-4, "weight_decay": 0.0,
    "batch_size": 32, "epochs": 30, "schedule": "constant", "warmup_fraction": 0.0, "sampling": "weighted",
    "patches": 4096,
}  # fmt: skip
_MREPATH: dict[str, Any] = {  # Qu et al., IJCAI 2025
    **_ALL,
    "loss": "nll", "censored_weight": 0.5, "optimiser": "radam", "learning_rate": 1e-4, "weight_decay": 1e-4,
    "batch_size": 1, "epochs": 30, "schedule": "constant", "warmup_fraction": 0.0, "sampling": "stratified",
    "patches": 4096,
}  # fmt: skip
_LD_CVAE: dict[str, Any] = _MCAT | {"batch_size": 1}  # Zhou et al., CVPR 2025; it steps after each patient
_TTA: dict[str, Any] = {  # arXiv 2511.18089
    **_ALL,
    "loss": "cox", "optimiser": "adamw", "learning_rate": 1e-4, "weight_decay": 1e-5, "batch_size": 32, "epochs": 30,
    "schedule": "cosine", "warmup_fraction": 0.5, "sampling": "stratified", "patches": 4096,
    "gradient_clip": 5.0,
}  # fmt: skip
PUBLISHED: dict[str, dict[str, Any]] = {
    "tta": _TTA,
    "mlp": _SURVPATH,
    "snn": _SURVPATH,
    "abmil": _MCAT,
    "late-fusion": _MCAT,
    "mcat": _MCAT,
    "motcat": _MCAT,
    "cmta": _CMTA,
    "survpath": _SURVPATH,
    "mmp": _MMP,
    "pibd": _PIBD,
    "mrepath": _MREPATH,
    "ld-cvae": _LD_CVAE,
}
