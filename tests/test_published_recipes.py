"""The published recipes, typed from the papers and the scripts of their code once more."""

import pytest

from tta_pipeline import config, model_sections

WHOLE_BAG = 1_000_000
KEYS = ("loss", "censored_weight", "optimiser", "learning_rate", "weight_decay", "batch_size", "epochs")
KEYS += ("schedule", "sampling", "patches", "warm-up epochs")
# A gradient that is summed over 32 patients is a batch of 32. The likelihood of Zadeh and Schmid with alpha 0.5 gives
# censored patients half of their weight, with alpha 0 the whole. Cox has no such weight.
MCAT = ("nll", 1.0, "adam", 2e-4, 1e-5, 32, 20, "constant", "weighted", WHOLE_BAG, 0)
SURVPATH = ("nll", 0.5, "radam", 5e-4, 1e-4, 1, 5, "cosine", "weighted", 4096, 1)
RECIPES = {
    "tta": ("cox", None, "adamw", 1e-4, 1e-5, 32, 30, "cosine", "stratified", 4096, 15),
    "mlp": SURVPATH,
    "snn": SURVPATH,
    "abmil": MCAT,
    "late-fusion": MCAT,
    "mcat": MCAT,
    "motcat": MCAT,
    "cmta": ("nll", 1.0, "sgd", 1e-3, 1e-5, 1, 30, "constant", "weighted", WHOLE_BAG, 0),
    "survpath": SURVPATH,
    "mmp": ("cox", None, "adamw", 1e-4, 1e-5, 64, 50, "cosine", "stratified", WHOLE_BAG, 1),
    "pibd": ("nll", 0.5, "adam", 5e-4, 0.0, 32, 30, "constant", "weighted", 4096, 0),
    "mrepath": ("nll", 0.5, "radam", 1e-4, 1e-4, 1, 30, "constant", "stratified", 4096, 0),
    "ld-cvae": ("nll", 1.0, "adam", 2e-4, 1e-5, 1, 20, "constant", "weighted", WHOLE_BAG, 0),
}


def test_every_published_recipe_stands_in_the_table() -> None:
    assert set(RECIPES) == set(model_sections.PUBLISHED)


@pytest.mark.parametrize("architecture", RECIPES)
def test_a_published_recipe_is_what_was_published(architecture: str) -> None:
    section = model_sections.ARCHITECTURES[architecture](architecture=architecture, recipe="published")
    recipe = config.recipe_of(section, config.Train())
    found = recipe.model_dump() | {"warm-up epochs": round(recipe.warmup_fraction * recipe.epochs, 6)}
    expected = dict(zip(KEYS, RECIPES[architecture], strict=True))
    if recipe.loss == "cox":
        del expected["censored_weight"]
    assert {key: found[key] for key in expected} == expected
    assert recipe.bins == 4
    assert recipe.gradient_clip == (5.0 if architecture == "tta" else None)
