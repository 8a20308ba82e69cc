"""The web demo, served once for all tests that visit it."""

import socket

import pytest


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
