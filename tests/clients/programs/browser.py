"""Choose a picture in the example page with a real browser.

usage: browser.py CHROMIUM PAGE SCREENSHOT PICTURE…    tells the status line and the canvas after each
"""

from __future__ import annotations

import json
import sys

from playwright.sync_api import Page, sync_playwright

_QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
_SHOWN = """() => {
  const canvas = document.getElementById("canvas"), told = document.getElementById("told")
  const drawn = canvas.width ? canvas.toDataURL("image/png").split(",")[1] : ""
  return {told: told.textContent, failed: told.className == "failed", drawn}
}"""


def shown(page: Page, picture: str) -> object:
    """What the page shows after somebody chose this picture."""
    page.set_input_files("#file", picture)
    page.wait_for_function("() => !['', 'asking …'].includes(document.getElementById('told').textContent)")
    return page.evaluate(_SHOWN)


def main(chromium: str, url: str, screenshot: str, *pictures: str) -> None:
    """Print what was shown, picture by picture, and every error of the page itself."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=_QUIET.split())
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        found = [shown(page, picture) for picture in pictures]
        page.screenshot(path=screenshot, full_page=True)
        browser.close()
    print(json.dumps({"shown": found, "errors": errors}))


main(*sys.argv[1:])
