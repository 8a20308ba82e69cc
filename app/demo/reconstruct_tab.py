"""The tab where a capture becomes a picture."""

from typing import Any

from ..stages.choices import (
    CAMERAS,
    EXAMPLES,
    METHODS,
    PANELS,
    PENALTIES,
    STAGES,
    missing_stages,
)
from .guard import CANCELLED, as_uploaded, explained
from .links import SHARE_LINK, restored
from .loading import load_gradio
from .reconstruct_events import BEFORE_REFINING, OWN_CAMERA, SOURCES, reconstruct, shown_panels

__all__ = ["add_reconstruct_tab"]


def add_reconstruct_tab(page: Any) -> None:
    """Add fields, results and events."""
    gr = load_gradio()
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            choice = _choose_source()
            settings = _choose_settings()
            with gr.Row():
                start = gr.Button("Reconstruct", variant="primary", size="lg")
                cancel = gr.Button("Cancel", variant="stop", size="lg")
        with gr.Column(scale=7, min_width=300):
            results = _results()
    kept = gr.State([], time_to_live=3600)
    inputs = [*choice.values(), *settings.values()]
    run = start.click(
        explained(reconstruct),
        inputs,
        [*results.values(), kept],
        concurrency_id="compute",
        api_visibility="private",
    )
    cancel.click(
        lambda: CANCELLED, None, results["status"], cancels=[run], api_visibility="private"
    )
    results["toggles"].change(
        shown_panels, [results["toggles"], kept], results["people"], api_visibility="private"
    )
    _sharing(page, {"source": choice["source"], "example": choice["example"], **settings})


def _choose_source() -> dict[str, Any]:
    gr = load_gradio()
    source = gr.Radio(
        [(label, key) for key, label in SOURCES.items()], value="example", label="Where from"
    )
    example = gr.Radio(
        [(entry.label, key) for key, entry in EXAMPLES.items()],
        value="fc_8",
        label="Real captures",
        info="Taken with cameras that have a mask or a diffuser in place of a lens.",
    )
    with gr.Group(visible=False) as own:
        capture = as_uploaded(
            gr.File(label="Raw capture: PNG, TIFF, NPY or DNG", file_count="single")
        )
        camera = gr.Dropdown(
            [(label, key) for key, (label, _) in CAMERAS.items()]
            + [("My own camera record", OWN_CAMERA)],
            value="flatcam",
            label="Camera that took it",
        )
        with gr.Group(visible=False) as own_camera:
            record = as_uploaded(gr.File(label="Camera record (.safetensors)", file_count="single"))
    with gr.Group(visible=False) as virtual:
        picture = as_uploaded(
            gr.Image(
                label="Picture, to be taken by a virtual lensless camera",
                sources=["upload", "webcam", "clipboard"],
                type="filepath",
                height=260,
            )
        )
    source.change(
        lambda kind: [gr.update(visible=kind == each) for each in SOURCES],
        source,
        [example, own, virtual],
        queue=False,
        api_visibility="private",
    )
    camera.change(
        lambda key: gr.update(visible=key == OWN_CAMERA),
        camera,
        own_camera,
        queue=False,
        api_visibility="private",
    )
    return {
        "source": source,
        "example": example,
        "capture": capture,
        "camera": camera,
        "record": record,
        "picture": picture,
    }


def _choose_settings() -> dict[str, Any]:
    gr = load_gradio()
    missing = missing_stages()
    stages = gr.CheckboxGroup(
        [(label, key) for key, label in STAGES.items() if key not in missing],
        value=[key for key in STAGES if key not in missing],
        label="Beyond the linear reconstruction",
    )
    for key, reason in missing.items():
        gr.Checkbox(label=STAGES[key], value=False, interactive=False, info=reason)
    with gr.Accordion("Settings", open=False):
        method = gr.Dropdown(
            list(METHODS),
            value="auto",
            label="Method",
            info="auto: Tikhonov for masks, ADMM with total variation for diffusers",
        )
        penalty = gr.Dropdown(
            list(PENALTIES),
            value="gcv",
            label="Penalty",
            allow_custom_value=True,
            info="A rule, or a number relative to the camera's largest squared gain",
        )
        iterations = gr.Slider(1, 300, 100, step=1, label="Iterations, for cg, fista and admm")
        imagination = gr.Slider(
            0,
            1,
            0.5,
            step=0.05,
            label="Imagination of the refiner",
            info="0: only what was measured. 1: as the model imagines it.",
            interactive="refine" not in missing,
        )
        seed = gr.Number(0, precision=0, minimum=0, label="Seed of all noise")
    return {
        "stages": stages,
        "method": method,
        "penalty": penalty,
        "iterations": iterations,
        "imagination": imagination,
        "seed": seed,
    }


def _results() -> dict[str, Any]:
    gr = load_gradio()
    status = gr.Markdown("Nothing yet: press *Reconstruct*.", elem_classes="status")
    slider = gr.ImageSlider(
        label=BEFORE_REFINING, format="png", max_height=480, elem_classes="compare"
    )
    download = gr.DownloadButton("Download everything (zip)", interactive=False)
    with gr.Tabs():
        with gr.Tab("Measured?"):
            trust = gr.HTML(label="What was measured, and how far it may be off")
        with gr.Tab("People"):
            toggles = gr.CheckboxGroup(
                [(label, key) for key, label in PANELS.items()],
                value=list(PANELS),
                label="Show",
            )
            people = gr.HTML(label="People")
        with gr.Tab("Steps"):
            steps = gr.HTML(label="Raw capture, linear, refined")
        with gr.Tab("Numbers"):
            numbers = gr.HTML(label="Numbers")
    return {
        "status": status,
        "slider": slider,
        "download": download,
        "trust": trust,
        "toggles": toggles,
        "people": people,
        "steps": steps,
        "numbers": numbers,
    }


def _sharing(page: Any, shared: dict[str, Any]) -> None:
    gr = load_gradio()
    with gr.Accordion("Share these settings", open=False):
        link = gr.Textbox(label="Link", interactive=False, buttons=["copy"])
        share = gr.Button("Make a link to these settings", size="sm")
    share.click(None, list(shared.values()), link, js=SHARE_LINK.format(names=list(shared)))
    query = gr.Textbox(visible=False)
    page.load(
        restored,
        query,
        list(shared.values()),
        js="() => window.location.search",
        queue=False,
        api_visibility="private",
    )
