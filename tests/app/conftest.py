"""The web demo, served once for all tests that visit it, and a browser to visit it with."""

import socket
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",  # a webcam
]  # fmt: skip


@pytest.fixture(scope="session")
def demo_page(tmp_path_factory):
    """The page, whose uploads go to a folder of its own."""
    pytest.importorskip("gradio")
    from barelens.app.demo import build_demo

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        page = build_demo()
        yield page
        page.close()


@pytest.fixture(scope="session")
def demo_address(demo_page):
    """Address of the page on a free port."""
    from barelens.app.demo.server import launch

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return launch(demo_page, host="127.0.0.1", port=port)


@pytest.fixture(scope="module")  # Playwright's event loop is in the way of other tests'
def browser():
    """A real browser without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()
