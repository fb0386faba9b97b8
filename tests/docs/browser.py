# SPDX-License-Identifier: MIT
"""A page in Debian's chromium, headless, over the DevTools protocol.

    import browser

    browser.shown(url, done, patience, enter=TEXT)  -> the page's text, once done(text), or at the end
    browser.picture(url, path, width, height)       writes a PNG
"""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request

from stack import wait, websocket

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
ENTER = """
  document.querySelector("input").value = %s;
  document.querySelector("form").requestSubmit();
"""


class Page:
    """One chromium with one page; all of it gone at the end."""

    def __init__(self, url, width=1000, height=700, dark=False):
        self._profile = tempfile.mkdtemp(prefix="ocgb-")
        self._numbers = itertools.count(1)
        flags = [*FLAGS, f"--user-data-dir={self._profile}", f"--window-size={width},{height}"]
        self._process = subprocess.Popen(
            ["chromium", *flags, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._socket = self._connect()
            if dark:
                features = [{"name": "prefers-color-scheme", "value": "dark"}]
                self.call("Emulation.setEmulatedMedia", features=features)
            self.call("Page.enable")
            self.call("Page.navigate", url=url)
            wait(lambda: self.value("document.readyState") == "complete", f"{url} is loaded", 60)
        except BaseException:
            self.close()
            raise

    def _connect(self):
        path = os.path.join(self._profile, "DevToolsActivePort")
        wait(lambda: os.path.exists(path) and os.path.getsize(path), "chromium has started", 60)
        with open(path, encoding="ascii") as file:
            port = int(file.readline())

        def page():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
                targets = json.load(answer)
            return next((each for each in targets if each["type"] == "page"), None)

        url = wait(page, "chromium has a page", 60)["webSocketDebuggerUrl"]
        return websocket.create_connection(url, timeout=60, suppress_origin=True)

    def call(self, method, **params):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                return answer.get("result", {})

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value")

    def close(self):
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)


def shown(url, done, patience, enter=None):
    page = Page(url)
    try:
        if enter is not None:
            page.value(ENTER % json.dumps(enter))
        deadline = time.monotonic() + patience
        while True:
            text = page.value("document.body.innerText") or ""
            if done(text) or time.monotonic() > deadline:
                return text
            time.sleep(0.1)
    finally:
        page.close()


def picture(url, path, width=1000, height=700, dark=False):
    page = Page(url, width, height, dark)
    try:
        data = page.call("Page.captureScreenshot", format="png")["data"]
    finally:
        page.close()
    with open(path, "wb") as file:
        file.write(base64.b64decode(data))
