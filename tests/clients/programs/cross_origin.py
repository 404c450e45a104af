"""Ask the service from a page of another origin, with a real browser.

usage: cross_origin.py CHROMIUM PAGE SERVICE PICTURE    tells what the page could read of each answer
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from quiet import QUIET

_ASK = """async ([service, picture]) => {
  const bytes = Uint8Array.from(atob(picture), each => each.charCodeAt(0))
  const form = new FormData()
  form.append("image", new Blob([bytes], {type: "image/jpeg"}), "a.jpg")
  const url = "data:image/jpeg;base64," + picture
  const json = {"Content-Type": "application/json"}, jpeg = {"Content-Type": "image/jpeg"}
  const calls = {
    form: ["/predict", {method: "POST", body: form}],
    json: ["/predict", {method: "POST", headers: json, body: JSON.stringify({image: url})}],
    named: ["/predict", {method: "POST", headers: {...jpeg, "X-Request-ID": "page-1"}, body: bytes}],
    drawn: ["/predict/annotated", {method: "POST", headers: jpeg, body: bytes}],
    models: ["/models", {}],
    protocol: ["/v2/models/shapes", {}],
    wrong: ["/predict?model=nobody", {method: "POST", headers: jpeg, body: bytes}],
    nowhere: ["/nowhere", {}],
    change: ["/models/shapes/target", {method: "PUT", headers: json, body: '{"target": "latest"}'}],
    unload: ["/v2/repository/models/shapes/unload", {method: "POST"}],
  }
  const told = {}
  for (const [name, [path, how]] of Object.entries(calls)) {
    try {
      const answer = await fetch(service + path, how)
      const header = each => answer.headers.get(each)
      await answer.arrayBuffer()
      told[name] = {status: answer.status, id: header("X-Request-ID"), version: header("X-Model-Version")}
    } catch (error) { told[name] = {status: null} }
  }
  return told
}"""


def main(chromium: str, url: str, service: str, picture: str) -> None:
    """Print the status that the page saw of each call, null where its browser let it see nothing."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page()
        page.goto(url)
        told = page.evaluate(_ASK, [service, base64.b64encode(Path(picture).read_bytes()).decode()])
        browser.close()
    print(json.dumps(told))


main(*sys.argv[1:])
