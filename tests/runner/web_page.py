"""A page in headless Chromium, for tests: opens a file, runs scripts, clicks, and hears what went wrong.

Chromium is spoken to in its DevTools protocol over a pair of pipes (--remote-debugging-pipe): messages
are JSON objects that end with a zero byte. So neither a port, a driver nor a library is needed.
https://chromedevtools.github.io/devtools-protocol/
"""
from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "Chromium is not installed (Debian: chromium)"
_ANSWER_SECONDS = 60.0
_LOWEST_DESCRIPTOR = 10
# Starts a program with two inherited descriptors as its 3 and 4, where Chromium expects its pipes.
_LAUNCHER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)
_KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "Backspace": 8, "ArrowUp": 38, "ArrowDown": 40}


def find_chromium() -> Optional[str]:
    """Return the path of Chromium (or Chrome), None if it is not installed."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class PageError(AssertionError):
    """A script in the page threw, or Chromium refused a command; the text says what."""


class WebPage:
    """One page of one headless Chromium; use it as a context manager. Sizes are CSS pixels.

    `problems` collects whatever the page did that it should not have: uncaught errors, errors and
    warnings on the console, files that were not found. `requests` lists every address it asked for.
    """

    def __init__(self, width: int = 1280, height: int = 800, dark: bool = False,
                 phone: bool = False) -> None:
        program = find_chromium()
        if program is None:
            raise PageError(MISSING)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._last_id = 0
        self._buffer = bytearray()
        self._session: Optional[str] = None
        self._loaded = False
        self._profile = tempfile.mkdtemp(prefix="hakmem-chromium-")
        self._start(program)
        try:
            self._attach()
            self.resize(width, height, phone)
            if dark:
                self.prefer("dark")
        except BaseException:
            self.close()
            raise

    def _start(self, program: str) -> None:
        to_read, self._out = _pipe()
        self._in, to_write = _pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-ES", "-c", _LAUNCHER, str(to_read), str(to_write), program, *_FLAGS,
             f"--user-data-dir={self._profile}", "about:blank"],
            pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)

    def _attach(self) -> None:
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def __enter__(self) -> WebPage:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def close(self) -> None:
        """End Chromium and remove its profile."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        for descriptor in (self._in, self._out):
            os.close(descriptor)
        for _ in range(50):  # its children may still be writing for a moment
            shutil.rmtree(self._profile, ignore_errors=True)
            if not os.path.exists(self._profile):
                return
            time.sleep(0.02)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result; raises PageError."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data):]
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._last_id:
                break
            self._hear(answer)
        if "error" in answer:
            raise PageError(f"{method}: {answer['error'].get('message')}")
        result: dict[str, Any] = answer["result"]
        return result

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise PageError("Chromium does not answer")
            piece = os.read(self._in, 1 << 20)
            if not piece:
                raise PageError("Chromium ended by itself")
            self._buffer += piece
        line, _, rest = bytes(self._buffer).partition(b"\0")
        self._buffer = bytearray(rest)
        message: dict[str, Any] = json.loads(line)
        return message

    def _hear(self, event: dict[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            words = [str(part.get("value", part.get("description"))) for part in told["args"]]
            self.problems.append(" ".join(words))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.problems.append(f"{told['entry']['text']} {told['entry'].get('url', '')}".strip())
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Network.loadingFailed":
            self.problems.append(f"not loaded: {told.get('errorText')}")

    def resize(self, width: int, height: int, phone: bool = False) -> None:
        """Give the window another size; as a phone, it also heeds the page's viewport setting."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height,
                     deviceScaleFactor=1, mobile=phone)

    def prefer(self, scheme: str) -> None:
        """Prefer the `light` or the `dark` colour scheme."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])

    def open(self, address: str | Path) -> None:
        """Go to a file or an address, and wait until it is loaded."""
        if isinstance(address, Path):
            address = address.resolve().as_uri()
        self._loaded = False
        answer = self.command("Page.navigate", url=address)
        if answer.get("errorText"):
            raise PageError(f"{address}: {answer['errorText']}")
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not self._loaded:
            self._hear(self._receive(deadline))

    def script(self, expression: str) -> Any:
        """Return the value of a JavaScript expression (a promise's once it is there), as JSON has it."""
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True,
                              awaitPromise=True, userGesture=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 10.0) -> Any:
        """Return the value of an expression as soon as it is true; raises PageError if it stays false."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.script(expression)
            if value:
                return value
            if time.monotonic() > deadline:
                raise PageError(f"still not true after {seconds:g} s: {expression}")
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Click with the mouse into the middle of the first element that matches; it is scrolled to."""
        found = self.script(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null;"
            " e.scrollIntoView({block: 'center', inline: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.left + r.width / 2, r.top + r.height / 2]; })()"
        )
        if found is None:
            raise PageError(f"nothing to click on: {selector}")
        self.click_at(*found)

    def click_at(self, x: float, y: float) -> None:
        """Click with the mouse at a place in the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.command("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press and release a key that has a name, such as Enter or Escape."""
        code = _KEYS[key]
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                         windowsVirtualKeyCode=code, **(more if kind == "keyDown" else {}))

    def screenshot(self, path: Path, whole: bool = False) -> Path:
        """Write a PNG of the window, or of the whole page; return its path."""
        answer = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path


def _pipe() -> tuple[int, int]:
    """Return both ends of a pipe, above the numbers that the program's own pipes will have."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]
