"""The page is whole or not there."""

import pytest

from tta_pipeline.io.report_page import write_page


def test_an_interrupted_page_leaves_nothing(tmp_path):
    with pytest.raises(Exception, match="is undefined"):
        write_page(tmp_path / "index.html", {})
    assert list(tmp_path.iterdir()) == []
