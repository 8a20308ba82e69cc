"""The page, put together from its tabs."""

from typing import Any

from .api import add_api
from .batch_tab import add_batch_tab
from .builder_tab import add_builder_tab
from .calibrate_tab import add_calibrate_tab
from .guard import refuse_links
from .loading import app_at_launch_only, load_gradio
from .reconstruct_tab import add_reconstruct_tab
from .style import HEADER

__all__ = ["build_demo"]

#: Every so many seconds, files older than that many are deleted.
DELETE_EVERY, DELETE_AFTER = 300, 1800

ABOUT = """
**What is shown.** The *linear* reconstruction is what the capture says and nothing else. A
*refined* picture is partly imagined by a diffusion model and is no measurement; both come with the
numbers that say how well they explain the capture. *Measured or invented* paints orange what an
assumption about pictures filled in.

**What happens to uploads.** They are decoded with limits (64 MB, 40 million pixels), are seen by
nobody else, and are deleted after half an hour and when the server stops. Links are never fetched.
This page asks nothing of any other server.

**For programs.** The endpoints `/reconstruct`, `/photograph`, `/calibrate` and `/batch` are
described under *Use via API* below, and serve as MCP tools at `/gradio_api/mcp/`:

    from gradio_client import Client

    demo = Client("http://127.0.0.1:7860")
    record, archive = demo.predict(example="fc_8", api_name="/reconstruct")

**Captures.** FlatCam captures: FlatNet project. Hand: DiffuserCam tutorial (both BSD-3-Clause).
Astronaut: NASA, public domain.
"""


def build_demo() -> Any:
    """Build the page; nothing is computed and no model is loaded before somebody asks.

    Returns
    -------
    gradio.Blocks
        For :func:`~barelens.app.demo.serve`, or to be mounted in a larger application.
    """
    gr = load_gradio()
    with (
        app_at_launch_only(),
        gr.Blocks(
            title="barelens: pictures without a lens",
            analytics_enabled=False,
            delete_cache=(DELETE_EVERY, DELETE_AFTER),
        ) as page,
    ):
        add_api()  # first, because events of the page would take the endpoints' names
        gr.HTML(HEADER)
        with gr.Tabs():
            with gr.Tab("Reconstruct"):
                add_reconstruct_tab(page)
            with gr.Tab("Build a camera") as builder:
                add_builder_tab(builder)
            with gr.Tab("Calibrate"):
                add_calibrate_tab()
            with gr.Tab("Batch"):
                add_batch_tab()
            with gr.Tab("About"):
                gr.Markdown(ABOUT)
    refuse_links()
    return page
