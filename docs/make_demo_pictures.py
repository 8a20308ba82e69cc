"""Make the pictures of the web demo, at the width of a desk and of a phone.

python docs/make_demo_pictures.py [--chromium /usr/bin/chromium] [--url http://127.0.0.1:7860/]

Without an address the demo is started for the purpose. Needs playwright and a Chromium.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def served() -> Iterator[str]:
    """Start the demo and give its address."""
    command = [sys.executable, "-u", "-m", "barelens.app", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address = next(line for line in server.stdout if "barelens demo at" in line)
            yield address.split()[3]
        finally:
            server.terminate()


def photograph(browser: Browser, address: str, width: int, height: int, target: Path) -> None:
    """Reconstruct the first example and take a picture of the page."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    page.goto(address)
    page.get_by_role("button", name="Reconstruct", exact=True).click()
    page.get_by_text("Done in").wait_for(timeout=120_000)
    page.wait_for_timeout(1500)
    page.mouse.move(0, 0)
    page.screenshot(path=target, full_page=True)
    page.close()


def main() -> None:
    """Take both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--url")
    args = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium, args=FLAGS)
        if args.url:
            take(browser, args.url)
        else:
            with served() as address:
                take(browser, address)
        browser.close()


def take(browser: Browser, address: str) -> None:
    """Take both pictures of a running demo."""
    photograph(browser, address, 1280, 900, HERE / "demo.png")
    photograph(browser, address, 400, 860, HERE / "demo_phone.png")


if __name__ == "__main__":
    main()
