import numpy as np
import pytest
import torch

from tests.models.test_baselines import GENES, SETS, WIDTH, batch
from tta_pipeline import model_sections
from tta_pipeline.models import MODELS
from tta_pipeline.models.batch import Batch


@pytest.mark.parametrize("architecture", ["mlp", "snn"])
@torch.no_grad()
def test_genes_in_another_order_with_their_weights_give_the_same(architecture: str) -> None:
    torch.manual_seed(0)
    section, order = model_sections.ARCHITECTURES[architecture](architecture=architecture), torch.randperm(GENES)
    place = order.argsort().numpy()  # of each gene, in that order
    model, other = (
        MODELS[architecture](section, feature_dim=WIDTH, pathways=sets).eval()
        for sets in (SETS, [place[genes] for genes in SETS])
    )
    other.load_state_dict(model.state_dict())
    read = np.unique(np.concatenate(SETS))  # genes in the order of their weights
    other.body[0][0].weight.copy_(model.body[0][0].weight[:, place[read].argsort()])
    whole = batch((1, 1))
    shuffled = Batch(whole.features, whole.mask, whole.expression[:, order])
    torch.testing.assert_close(other(shuffled).scores, model(whole).scores)
