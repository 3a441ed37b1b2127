"""What every test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real inputs; a test that needs them is skipped, and counted, where they are absent."""
    folder = Path(os.environ.get("TTA_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real inputs absent: {folder} (set TTA_SHARED_DATA)")
    return folder.resolve()
