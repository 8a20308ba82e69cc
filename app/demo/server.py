"""Serving the page."""

import os
import shutil
import tempfile
import threading
from importlib import import_module
from typing import Any

from ..stages.choices import MAX_UPLOAD_MB
from .loading import app_at_launch_only, load_gradio
from .page import build_demo
from .style import CSS, HEAD, make_theme

__all__ = ["launch", "serve"]

QUEUE_LENGTH = 16
KEPT_VISITORS = 64  # whose results stay in memory


def launch(page: Any, *, host: str, port: int | None, workers: int = 1) -> str:
    """Start serving a page in the background.

    Parameters
    ----------
    page : gradio.Blocks
        From :func:`~barelens.app.demo.build_demo`.
    host, port
        Where to listen; the first free port from 7860 on where None.
    workers : int, optional
        Reconstructions at the same time; further visitors wait in a queue of 16 and are then told
        that it is full.

    Returns
    -------
    str
        The address.

    Raises
    ------
    ImportError
        What serves MCP is missing or does not fit.
    """
    with app_at_launch_only():
        page.queue(max_size=QUEUE_LENGTH, default_concurrency_limit=workers)
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        max_file_size=f"{MAX_UPLOAD_MB}mb",
        mcp_server=True,
        ssr_mode=False,
        pwa=False,
        run_history=False,
        footer_links=["api"],
        enable_monitoring=False,
        state_session_capacity=KEPT_VISITORS,
        theme=make_theme(),
        css=CSS,
        head=HEAD,
    )
    if page.mcp_error:
        page.close()
        raise ImportError(f"MCP cannot be served, pip install 'gradio[mcp]': {page.mcp_error}")
    return str(address)


def serve(*, host: str = "127.0.0.1", port: int | None = None, workers: int = 1) -> None:
    """Serve the demo until interrupted; uploads live in a folder that goes with it."""
    uploads = tempfile.mkdtemp(prefix="barelens-demo-")
    os.environ["GRADIO_TEMP_DIR"] = uploads
    # Reconstructions side by side must not fight for cores, nor threads that wait keep them busy.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    load_gradio()
    page = build_demo()
    try:
        address = launch(page, host=host, port=port, workers=workers)
        print(f"barelens demo at {address} (Ctrl-C stops it)", flush=True)
        threading.Timer(1.0, warm).start()
        page.block_thread()
    finally:
        page.close()
        shutil.rmtree(uploads, ignore_errors=True)


def warm() -> None:
    """Reconstruct the first example, so that the first visitor need not wait for torch to load."""
    from ..stages.chain import reconstruct
    from ..stages.choices import DemoSettings
    from ..stages.sources import example

    import_module("pandas")  # with which Gradio keeps account of events
    reconstruct(example("fc_8"), DemoSettings())
