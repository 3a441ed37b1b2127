import torch
from torch import nn

from tta_pipeline.models.fusion_blocks import BilinearFusion, ConcatFusion


def test_parameters_are_as_many_as_published() -> None:
    counts = [sum(weights.numel() for weights in module.parameters()) for module in (ConcatFusion(), BilinearFusion())]
    assert counts == [197_120, 396_224]


def test_concat_fusion_reads_histology_first() -> None:
    torch.manual_seed(0)
    fusion, histology, genes = ConcatFusion(4), torch.randn(2, 4), torch.randn(2, 4)
    found = fusion(histology=histology, genes=genes)
    hidden = (
        histology @ fusion.mix[0].weight[:, :4].T + genes @ fusion.mix[0].weight[:, 4:].T + fusion.mix[0].bias
    ).relu()
    torch.testing.assert_close(found, (hidden @ fusion.mix[2].weight.T + fusion.mix[2].bias).relu())


def test_bilinear_fusion_is_its_formula() -> None:
    torch.manual_seed(0)
    fusion, histology, genes = BilinearFusion(6).eval(), torch.randn(2, 6), torch.randn(2, 6)
    both = torch.cat([histology, genes], dim=1)
    gated = [
        torch.cat([part.out(torch.sigmoid(part.gate(both)) * part.cut(own).relu()), torch.ones(2, 1)], dim=1)
        for part, own in ((fusion.histology, histology), (fusion.genes, genes))
    ]
    outer = torch.stack([torch.outer(left, right).flatten() for left, right in zip(*gated, strict=True)])
    torch.testing.assert_close(fusion(histology=histology, genes=genes), fusion.mix(outer))


def test_bilinear_fusion_passes_one_modality_where_the_other_is_zero() -> None:
    torch.manual_seed(0)
    fusion = BilinearFusion(6).eval()
    for part in fusion.genes.modules():
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
    first, second = (fusion(histology=torch.randn(1, 6), genes=torch.zeros(1, 6)) for _ in range(2))
    assert not torch.allclose(first, second)
