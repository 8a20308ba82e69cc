"""The tab where captures of patterns become a camera record and its report."""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .guard import CANCELLED, as_uploaded, explained, progress, upload
from .loading import load_gradio

__all__ = ["add_calibrate_tab", "calibrate", "practice"]

BAYER = ("none", "RGGB", "BGGR", "GRBG", "GBRG")


def add_calibrate_tab() -> None:
    """Add fields, results and events."""
    gr = load_gradio()
    gr.Markdown(
        "Show your camera the patterns of `barelens calibrate patterns`, zip its raw captures "
        "together with the patterns' `manifest.json`, and upload them here. "
        "*Make a practice set* takes such captures with a virtual camera."
    )
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            archive = as_uploaded(
                gr.File(label="Captures and manifest.json (.zip)", file_types=[".zip"])
            )
            white = gr.Number(4095, label="White level: count at which the sensor saturates")
            black = gr.Number(0, label="Black level: count without light")
            bayer = gr.Dropdown(list(BAYER), value="none", label="Bayer mosaic")
            with gr.Row():
                start = gr.Button("Calibrate", variant="primary")
                cancel = gr.Button("Cancel", variant="stop")
            make = gr.Button("Make a practice set")
        with gr.Column(scale=7, min_width=300):
            status = gr.Markdown("Nothing yet.", elem_classes="status")
            with gr.Row():
                record = gr.DownloadButton("Camera record", interactive=False)
                page = gr.DownloadButton("Report", interactive=False)
            report = gr.HTML(label="Report on the camera")
    run = start.click(
        explained(calibrate),
        [archive, white, black, bayer],
        [status, record, page, report],
        concurrency_id="compute",
        api_visibility="private",
    )
    made = make.click(
        lambda: "Taking captures …", None, status, queue=False, api_visibility="private"
    ).then(
        explained(practice),
        None,
        [archive, white, black, bayer, status],
        concurrency_id="compute",
        api_visibility="private",
    )
    cancel.click(lambda: CANCELLED, None, status, cancels=[run, made], api_visibility="private")


def calibrate(
    archive: Any, white_level: float, black_level: float, bayer: str
) -> Iterator[tuple[Any, ...]]:
    """Fit a camera and show the report on it."""
    from ..stages import jobs

    gr = load_gradio()
    path = upload(archive)
    if path is None:
        raise ValueError("Upload a zip of captures first, or make a practice set.")
    yield ("Calibrating …", *[gr.skip()] * 3)
    fitted = jobs.calibrate(
        path,
        white_level=white_level or 0.0,  # None in an empty field
        black_level=black_level or 0.0,
        bayer=None if bayer == "none" else bayer,  # type: ignore[arg-type]
        progress=progress(),
    )
    with TemporaryDirectory() as folder:
        record, page = Path(folder) / "camera.safetensors", Path(folder) / "camera_report.html"
        fitted.camera.save(record)
        page.write_text(fitted.report, encoding="utf-8")
        yield (
            f"Calibrated. {_problems(fitted.problems)}",
            gr.update(value=str(record), interactive=True),
            gr.update(value=str(page), interactive=True),
            '<iframe class="report" title="Report on the camera" sandbox '
            f'srcdoc="{escape(fitted.report)}"></iframe>',
        )


def _problems(problems: list[str]) -> str:
    if not problems:
        return "All captures could be used."
    more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
    return f"Not used: {escape('; '.join(problems[:5]))}{more}."


def practice() -> Iterator[tuple[Any, ...]]:
    """Take a calibration set with a virtual camera and put it into the fields."""
    from ..stages.jobs import make_practice_set

    with TemporaryDirectory() as folder:
        target = Path(folder) / "practice_set.zip"
        frame = make_practice_set(target, progress())
        yield (
            str(target),
            frame.white_level,
            frame.black_level,
            frame.bayer,
            "A practice set is in the field: press *Calibrate*.",
        )
