"""Use the example page with a real browser.

usage: browser.py CHROMIUM PAGE SCREENSHOT STEP…    tells the status line and what is drawn after each

A step is a picture to choose, `example` to click on, `model NAME` to choose, `until TEXT`: it goes on
asking until the status line begins so, or `sign FILE`, which is written when all before it was shown.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from quiet import QUIET

_SHOWN = """() => {
  const canvas = document.getElementById("canvas"), told = document.getElementById("told")
  const drawn = canvas.width ? canvas.toDataURL("image/png").split(",")[1] : ""
  const found = [...document.querySelectorAll("#found li")].map(each => each.textContent)
  return {told: told.textContent, failed: told.className == "failed", drawn, found}
}"""
_TOLD = "document.getElementById('told').textContent"


def take(page: Page, step: str) -> str:
    """Take a step; what tells that it was taken."""
    kind, _, word = step.partition(" ")
    if kind == "until":
        page.check("#again")
        return f"{_TOLD}.startsWith('{word}')"
    if kind == "sign":
        Path(word).touch()
        return "true"
    page.evaluate(f"{_TOLD} = ''")
    if kind == "model":
        page.select_option("#model", word)
    elif kind == "example":
        page.click("#example")
    else:
        page.set_input_files("#file", step)
    return f"!['', 'predicting …'].includes({_TOLD})"


def shown(page: Page, step: str) -> object:
    """What the page shows after a step."""
    page.wait_for_function(f"() => {take(page, step)}")
    return page.evaluate(_SHOWN)


def main(chromium: str, url: str, screenshot: str, *steps: str) -> None:
    """Print what was shown, step by step, and every error of the page itself."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if " 404 " in line.text else None)
        page.goto(url)
        found = [shown(page, step) for step in steps]
        page.screenshot(path=screenshot, full_page=True)
        browser.close()
    print(json.dumps({"shown": found, "errors": errors}))


main(*sys.argv[1:])
