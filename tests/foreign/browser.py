#!/usr/bin/env python3
"""Runs a function in a page of a real browser: Chromium, without a window.

Opens URL, runs BODY there as the body of an async function with one parameter, `args`, and prints
what it returns as one line of JSON. With --authenticator the page finds an authenticator that makes
and uses passkeys without asking anybody. What the page writes to its console goes to stderr. Exits
1 when the function throws, the page does not load, or time is up.

Needs nothing but Python and Chromium (on Debian: apt-get install --no-install-recommends chromium).
The browser is spoken to over a pipe, and ends with it, so that none is left behind.
"""

import argparse
import fcntl
import json
import os
import pathlib
import select
import signal
import sys
import tempfile
import time


class Failed(Exception):
    """The browser or the page did not do what it was asked."""


class Browser:
    """A browser of our own, with a profile that is thrown away."""

    def __init__(self, chromium, deadline):
        self.deadline = deadline
        self.folder = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        self.log = pathlib.Path(self.folder.name, "log")
        self.last_id = 0
        self.pending = b""
        self.messages = []
        self.session = None
        self.pid = self._spawn(chromium)

    def _spawn(self, chromium):
        """Starts it as the leader of a process group. It reads at 3 and writes at 4."""
        # Well above 3 and 4, so that neither is overwritten by the other.
        its_reads, self.writes = map(moved_up, os.pipe())
        self.reads, its_writes = map(moved_up, os.pipe())
        arguments = [
            chromium,
            "--headless=new",
            "--no-sandbox",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-breakpad",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-sync",
            "--remote-debugging-pipe",
            f"--user-data-dir={self.folder.name}/profile",
            "about:blank",
        ]
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.log), os.O_WRONLY | os.O_CREAT, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, its_reads, 3),
            (os.POSIX_SPAWN_DUP2, its_writes, 4),
        ]
        pid = os.posix_spawnp(chromium, arguments, os.environ, file_actions=actions, setpgroup=0)
        os.close(its_reads)
        os.close(its_writes)
        return pid

    def call(self, method, **parameters):
        """Calls a method of the Chrome DevTools Protocol and returns its result."""
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = memoryview(json.dumps(message).encode() + b"\0")
        while data:
            data = data[os.write(self.writes, data):]
        while True:
            answer = self._next()
            if answer.get("id") != self.last_id:
                self.messages.append(answer)
            elif "error" in answer:
                raise Failed(f"{method}: {answer['error']['message']}")
            else:
                return answer["result"]

    def wait_for(self, event):
        """Waits for an event, which may have come already, and returns its parameters."""
        while True:
            for index, message in enumerate(self.messages):
                if message.get("method") == event:
                    return self.messages.pop(index)["params"]
            self.messages.append(self._next())

    def _next(self):
        while b"\0" not in self.pending:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([self.reads], [], [], left)[0]:
                raise Failed("time is up")
            data = os.read(self.reads, 1 << 16)
            if not data:
                raise Failed(f"the browser ended:\n{self.log.read_text(errors='replace')[-4000:]}")
            self.pending += data
        message, self.pending = self.pending.split(b"\0", 1)
        message = json.loads(message)
        if message.get("method") == "Runtime.consoleAPICalled":
            words = [word.get("value", word.get("description")) for word in message["params"]["args"]]
            print("console:", *words, file=sys.stderr)
        return message

    def close(self):
        """Ends the browser. Its profile is of no worth, so it need not tidy up first."""
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.writes)
        os.close(self.reads)
        self.folder.cleanup()


def moved_up(end):
    moved = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(end)
    return moved


def run(browser, options):
    """Opens the page and returns what the function in it returns."""
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
    browser.session = attached["sessionId"]
    browser.call("Page.enable")
    browser.call("Runtime.enable")
    if options.authenticator:
        browser.call("WebAuthn.enable")
        device = {
            "protocol": "ctap2",
            "ctap2Version": "ctap2_1",
            "transport": options.authenticator,
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": not options.unverified,
            "automaticPresenceSimulation": True,
        }
        browser.call("WebAuthn.addVirtualAuthenticator", options=device)
    went = browser.call("Page.navigate", url=options.url)
    if went.get("errorText"):
        raise Failed(f"{options.url}: {went['errorText']}")
    browser.wait_for("Page.loadEventFired")
    body = sys.stdin.read() if options.body == "-" else options.body
    evaluated = browser.call(
        "Runtime.evaluate",
        expression=f"(async (args) => {{\n{body}\n}})({json.dumps(options.args)})",
        awaitPromise=True,
        returnByValue=True,
        userGesture=True,
    )
    if "exceptionDetails" in evaluated:
        details = evaluated["exceptionDetails"]
        thrown = details.get("exception", {})
        raise Failed(thrown.get("description") or thrown.get("value") or details["text"])
    return evaluated["result"].get("value")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("url", help="the page; passkeys need https, or http on localhost")
    parser.add_argument("body", help="the function's body, or - to read it from stdin")
    parser.add_argument("--args", type=json.loads, help="JSON that the function gets as `args`")
    parser.add_argument("--authenticator", choices=["internal", "usb", "hybrid"],
                        help="how the page reaches an authenticator; it finds none by default")
    parser.add_argument("--unverified", action="store_true",
                        help="the authenticator fails to verify its user")
    parser.add_argument("--chromium", default=os.environ.get("FOREIGN_BROWSER", "chromium"),
                        help="the browser; by default FOREIGN_BROWSER, or chromium on the path")
    parser.add_argument("--wait", type=float, default=60, help="seconds in all, 60 by default")
    options = parser.parse_args()

    # So that the browser is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    browser = Browser(options.chromium, time.monotonic() + options.wait)
    try:
        print(json.dumps(run(browser, options)))
    except Failed as failed:
        sys.exit(str(failed))
    finally:
        browser.close()


if __name__ == "__main__":
    main()
