"""The page of a comparison as the service shows it."""

from __future__ import annotations

import pytest

from manifest.tags import ModelTag
from registry.comparison_pages import ComparisonPages
from tests.api.shape import refused
from tests.e2e.harness import Service
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

PATH = "/models/m/versions/{}/comparison"


def test_a_published_page_is_shown(api: Service) -> None:
    pages = ComparisonPages(api.home)
    for page in (b"<!DOCTYPE html><p>first", b"<!DOCTYPE html><p>second"):
        pages.write(ModelTag("m", "v2"), api.states("m")["v2"]["digest"], page)
        shown = api.get(PATH.format("v2"))
        assert (shown.status_code, shown.content) == (200, page)
    assert shown.headers["Content-Type"].startswith("text/html")
    assert "frame-ancestors 'none'" in shown.headers["Content-Security-Policy"]
    assert api.get(PATH.format(2)).content == page
    pages.write(ModelTag("m", "v2"), "sha256:other-files", page)
    refused(api.get(PATH.format("v2")), 404, "comparison_not_found")


def test_what_was_not_compared_says_how(api: Service) -> None:
    message = refused(api.get(PATH.format("v1")), 404, "comparison_not_found")
    assert "okawari compare m:OTHER m:v1 --images DIR --publish" in message
    refused(api.get(PATH.format("v9")), 404, "version_not_found")
    refused(api.get("/models/absent/versions/v1/comparison"), 404, "model_not_found")
    refused(api.get(PATH.format("..%2F..%2Fgolden")), 404, "not_found")
