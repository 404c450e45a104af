"""Open the pages made of the OpenAPI document with a real browser.

usage: documents.py CHROMIUM PAGE SCREENSHOT

Tells how many calls they list, and every address beyond the page's own that they would ask.
"""

from __future__ import annotations

import json
import sys

from playwright.sync_api import Route, sync_playwright
from quiet import QUIET


def main(chromium: str, url: str, screenshot: str) -> None:
    """Let nothing out, and note what tried."""
    beyond: list[str] = []

    def note(route: Route) -> None:
        if route.request.url.startswith((url, "data:")):
            route.continue_()
        else:
            beyond.append(route.request.url)
            route.abort()

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page()
        page.route("**/*", note)
        page.goto(url)
        page.wait_for_selector(".opblock")
        listed = page.locator(".opblock").count()
        page.screenshot(path=screenshot)
        browser.close()
    print(json.dumps({"listed": listed, "beyond": beyond}))


main(*sys.argv[1:])
