"""Press the button of a comparison that a service shows. usage: promoting.py CHROMIUM URL TOKEN PICTURE

Prints as JSON what the page said, and its errors. The service must refuse the first press, without a token.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress

from playwright.sync_api import Error, Page, sync_playwright
from quiet import QUIET


def press(page: Page, said: str) -> str:
    """Press the button; what stands below it, once that contains this or nothing more comes."""
    page.click("#activate")
    with suppress(Error):
        page.locator("#activated", has_text=said).wait_for()
    return page.locator("#activated").inner_text()


def main(chromium: str, url: str, token: str, picture: str) -> None:
    """Promote without a token, with a wrong one, and with the right one."""
    errors: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(url)
        page.keyboard.press("j")
        page.keyboard.press("s")
        said = [press(page, "token")]
        page.fill("#token", token)
        said.append(press(page, "is production"))
        page.locator("#here").scroll_into_view_if_needed()
        page.screenshot(path=picture)
        browser.close()
    print(json.dumps({"said": said, "errors": errors}))


main(*sys.argv[1:])
