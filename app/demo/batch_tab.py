"""The tab where several captures become one zip."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..stages.choices import CAMERAS, MAX_BATCH, METHODS, DemoSettings
from .guard import CANCELLED, as_uploaded, explained, progress, upload, uploads
from .loading import load_gradio
from .style import table

__all__ = ["add_batch_tab", "reconstruct_all"]


def add_batch_tab() -> None:
    """Add fields, results and events."""
    gr = load_gradio()
    gr.Markdown(
        f"Up to {MAX_BATCH} captures of one camera at once. A capture that cannot be used is named "
        "and the rest go on. For more, `barelens batch` has no limit."
    )
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            captures = as_uploaded(
                gr.File(label="Raw captures: PNG, TIFF, NPY or DNG", file_count="multiple")
            )
            camera = gr.Dropdown(
                [(label, key) for key, (label, _) in CAMERAS.items()],
                value="flatcam",
                label="Camera that took them",
            )
            record = as_uploaded(gr.File(label="or your own camera record (.safetensors)"))
            method = gr.Dropdown(list(METHODS), value="auto", label="Method")
            with gr.Row():
                start = gr.Button("Reconstruct all", variant="primary")
                cancel = gr.Button("Cancel", variant="stop")
        with gr.Column(scale=7, min_width=300):
            status = gr.Markdown("Nothing yet.", elem_classes="status")
            download = gr.DownloadButton("Download results (zip)", interactive=False)
            results = gr.HTML(label="Captures and their residuals")
    run = start.click(
        explained(reconstruct_all),
        [captures, camera, record, method],
        [status, download, results],
        concurrency_id="compute",
        api_visibility="private",
    )
    cancel.click(lambda: CANCELLED, None, status, cancels=[run], api_visibility="private")


def reconstruct_all(
    captures: Any, camera: str, record: Any, method: str
) -> Iterator[tuple[Any, ...]]:
    """Reconstruct captures one after the other and pack the results."""
    from ..stages.chain import linear_settings
    from ..stages.jobs import run_batch
    from ..stages.sources import bundled_camera
    from ..stages.uploads import read_camera

    gr = load_gradio()
    yield ("Reading the captures …", *[gr.skip()] * 2)
    own = upload(record)
    chosen = bundled_camera(camera) if own is None else read_camera(own)
    settings = linear_settings(DemoSettings(method))
    with TemporaryDirectory() as folder:
        target = Path(folder) / "barelens_batch.zip"
        result = run_batch(uploads(captures), chosen, settings, target, progress())
        rows = [(name, f"residual {residual:.3f}") for name, residual in result.done.items()]
        rows += list(result.failed.items())
        yield (
            f"{len(result.done)} reconstructed, {len(result.failed)} could not be used.",
            gr.update(value=str(target) if result.done else None, interactive=bool(result.done)),
            table(rows, "Captures and their residuals"),
        )
