"""Use the page of a comparison with a real browser, by keyboard and by mouse.

usage: comparison.py CHROMIUM AXE PAGE FOLDER

Prints what was seen as JSON: errors, requests, findings of axe, widths, and the marks that were saved. The
folder gets pictures of the page: wide.png, phone.png, print.pdf.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from quiet import QUIET

_AXE = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]})
  return found.violations.map(each => [each.impact, each.id, each.nodes[0].html.slice(0, 200)])
}"""
_STATE = """() => ({
  show: document.body.dataset.show,
  current: [...document.querySelectorAll("article")].findIndex(each => each.classList.contains("current")),
  pressed: [...document.querySelectorAll("article")].map(
    each => [...each.querySelectorAll("[data-right][aria-pressed=true]")].map(one => one.dataset.right)),
  status: document.getElementById("status").textContent,
  shown: {
    a: getComputedStyle(document.querySelector("svg .a")).display != "none",
    b: getComputedStyle(document.querySelector("svg .b")).display != "none",
  },
  promote: (document.getElementById("promote") || {}).textContent,
})"""


class Seen:
    """A page in a browser, and what it did beside being shown."""

    def __init__(self, browser: Browser, page: str, width: int, height: int) -> None:
        # The page forbids foreign scripts; axe is put in from outside.
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, bypass_csp=True, accept_downloads=True
        )
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.watch(self.page)
        self.page.goto(page)

    def watch(self, page: Page) -> None:
        """Note errors and requests."""
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda line: self.errors.append(line.text) if line.type != "log" else None)
        page.on(
            "request",
            lambda asked: self.requests.append(asked.url) if not asked.url.startswith("data:") else None,
        )

    def judged(self, axe: str) -> Any:
        """What axe finds."""
        self.page.add_script_tag(path=axe)
        return self.page.evaluate(_AXE)

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(
            self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        )

    def state(self) -> Any:
        """What is chosen and shown."""
        return self.page.evaluate(_STATE)

    def press(self, *keys: str) -> Any:
        """Press keys; what is shown then."""
        for key in keys:
            self.page.keyboard.press(key)
        return self.state()


def strict(browser: Browser, page: str) -> list[str]:
    """Errors of the page with its own policy in force."""
    opened = browser.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda line: errors.append(line.text))
    opened.goto(page)
    opened.keyboard.press("j")
    if not opened.locator("article.current").count():
        errors.append("the script does not run")
    return errors


def main(chromium: str, axe: str, page: str, folder: str) -> None:
    """Look at it wide, on a phone and printed; mark pictures and save them; come back."""
    out = Path(folder)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=QUIET)
        wide = Seen(browser, page, 1280, 900)
        wide.page.screenshot(path=out / "wide.png")
        seen: dict[str, Any] = {"axe": wide.judged(axe), "overflow": [wide.overflow()]}
        seen["first"] = wide.state()
        seen["next"] = wide.press("j", "j")
        seen["before"] = wide.press("k")
        seen["only_a"] = wide.press("1")
        seen["only_b"] = wide.press("2")
        seen["both"] = wide.press("b")
        seen["marked"] = wide.press("a", "j", "s", "j", "x")
        seen["unmarked"] = wide.press("x")
        with wide.page.expect_download() as download:
            wide.page.click("#save")
        seen["saved"] = json.loads(Path(download.value.path()).read_text())
        wide.page.reload()
        seen["again"] = wide.state()
        wide.page.pdf(path=out / "print.pdf", format="A4")
        phone = Seen(browser, page, 360, 740)
        phone.page.screenshot(path=out / "phone.png")
        seen["axe"] += phone.judged(axe)
        seen["overflow"].append(phone.overflow())
        phone.page.locator("article [data-right=b]").first.click()
        seen["clicked"] = phone.state()
        seen["strict"] = strict(browser, page)
        seen["errors"] = wide.errors + phone.errors
        seen["requests"] = sorted({*wide.requests, *phone.requests})
        browser.close()
    print(json.dumps(seen))


main(*sys.argv[1:])
