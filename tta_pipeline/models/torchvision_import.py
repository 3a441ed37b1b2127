"""Import torchvision on machines where its compiled operators do not load.

timm imports torchvision. On some CPU-only machines the torchvision wheel was built for CUDA while torch was not (or the
other way round): its library of operators is then silently not loaded, and `import torchvision` ends with
"RuntimeError: operator torchvision::nms does not exist", because it registers shape rules for operators that nobody
declared. Encoders use none of these operators (box suppression for detection), so it is enough to declare their
schemas and to import again. Where torchvision imports as it should, nothing is declared.
"""

import importlib

import torch

_MISSING_OPERATOR = "operator torchvision::nms does not exist"
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # a schema lives as long as the Library that declared it


def import_torchvision() -> None:
    """Import torchvision, with its operators declared where they could not be loaded; call it before timm.

    Raises
    ------
    RuntimeError
        torchvision fails for any other reason.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING_OPERATOR not in str(error) or _declared:
            raise
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            library.define(schema)  # type: ignore[no-untyped-call]
        _declared.append(library)
        importlib.import_module("torchvision")
