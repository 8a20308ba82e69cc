"""The tab where a visitor builds a virtual camera and watches what that does to pictures."""

from typing import TYPE_CHECKING, Any

from .guard import as_uploaded, explained, upload
from .loading import load_gradio
from .style import figures, table

if TYPE_CHECKING:
    from ..stages.sources import Source
    from ..virtual_camera import VirtualSettings

__all__ = ["add_builder_tab", "build", "virtual_source"]

MASKS = ("m-sequence", "mura", "random")


def add_builder_tab(tab: Any) -> None:
    """Add fields, results and events to a tab that takes its first picture when it is opened."""
    gr = load_gradio()
    gr.Markdown(
        "Change the camera and see at once what its sensor records and what can be got back. "
        "The scene is an astronaut unless you bring a picture of your own."
    )
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            mask = gr.Radio(list(MASKS), value="m-sequence", label="Mask")
            feature = gr.Slider(10, 100, 30, step=5, label="Width of a mask feature, µm")
            distance = gr.Slider(0.5, 6, 1.95, step=0.05, label="Distance of mask and sensor, mm")
            view = gr.Slider(10, 70, 36, step=1, label="Field of view, degrees")
            light = gr.Slider(
                500,
                50_000,
                20_000,
                step=500,
                label="Light, electrons in the brightest pixels' well",
            )
            noise = gr.Slider(0, 50, 3, step=1, label="Read noise, electrons")
            seed = gr.Number(0, precision=0, minimum=0, label="Seed of the noise")
            again = gr.Button("Take the picture", variant="primary")
            with gr.Accordion("A picture of your own", open=False):
                picture = as_uploaded(
                    gr.Image(
                        label="Picture or webcam",
                        sources=["upload", "webcam", "clipboard"],
                        type="filepath",
                        height=220,
                    )
                )
        with gr.Column(scale=7, min_width=300):
            slider = gr.ImageSlider(
                label="Left: the scene. Right: what the camera lets us know of it",
                format="png",
                max_height=420,
                elem_classes="compare",
            )
            pictures = gr.HTML(label="What the sensor sees, and the mask")
            numbers = gr.HTML(label="Numbers")
    inputs = [mask, feature, distance, view, light, noise, seed, picture]
    triggers = [tab.select, again.click, mask.change, seed.change, picture.change]
    triggers += [each.release for each in (feature, distance, view, light, noise)]
    gr.on(
        triggers,
        explained(build),
        inputs,
        [slider, pictures, numbers],
        concurrency_id="compute",
        trigger_mode="always_last",
        api_visibility="private",
    )


def build(*values: Any) -> tuple[Any, str, str]:
    """Take a picture with a virtual camera of these values and reconstruct it."""
    from ..stages import sources
    from ..stages.bundle import numbers
    from ..stages.chain import judge, reconstruct
    from ..stages.choices import DemoSettings

    source, settings = virtual_source(*values)
    outcome = judge(reconstruct(source, DemoSettings()))
    truth, *others = outcome.panels
    return (
        (truth.picture.numpy(), outcome.linear.picture.numpy()),
        figures([outcome.capture, sources.mask_panel(settings), *others]),
        table(numbers(outcome), "Numbers of this camera"),
    )


def virtual_source(
    mask: str,
    feature_um: float,
    mask_distance_mm: float,
    field_of_view_deg: float,
    full_well_e: float,
    read_noise_e: float,
    seed: float,
    picture: Any,
) -> tuple["Source", "VirtualSettings"]:
    """Take an uploaded picture, or the bundled one, with a virtual camera."""
    from ..stages import sources
    from ..stages.uploads import read_picture
    from ..virtual_camera import VirtualSettings

    settings = VirtualSettings(
        mask=mask,
        feature_um=feature_um,
        mask_distance_mm=mask_distance_mm,
        field_of_view_deg=field_of_view_deg,
        full_well_e=full_well_e,
        read_noise_e=read_noise_e,
        mask_seed=int(seed or 0),
        **sources.VIRTUAL_SIZES,
    )
    path = upload(picture)
    scene = sources.bundled_picture() if path is None else read_picture(path)
    return sources.photograph(scene, settings, seed=int(seed or 0)), settings
