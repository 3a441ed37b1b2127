"""Studies and trainings that several tests of leaks compare with."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.builders import Study
from tests.leaks import study as made


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study as it is; nobody changes it."""
    return made.prepare(made.draw(), tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="session")
def clean_fit(clean: Study) -> Callable[..., Path]:
    """The train artifact of an architecture with some options, fitted once."""

    @cache
    def fitted(architecture: str, **options: Any) -> Path:
        return made.fit(clean, architecture, **options)

    return fitted
