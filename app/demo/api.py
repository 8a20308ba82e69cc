"""Endpoints for programs, over HTTP and as MCP tools; their docstrings are their descriptions."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from ..stages.choices import DemoSettings
from .builder_tab import virtual_source
from .guard import explained, upload, uploads
from .loading import load_gradio

if TYPE_CHECKING:
    from ..stages.sources import Source

__all__ = ["add_api", "batch", "calibrate", "photograph", "reconstruct"]


def add_api() -> None:
    """Add the endpoints to the page that is being built."""
    gr = load_gradio()
    file = gr.FileData
    several, results = GenericAlias(list, (file,)), partial(GenericAlias, tuple)
    files: dict[Any, dict[str, Any]] = {
        reconstruct: {"capture": file | None, "return": results((dict[str, Any], file))},
        photograph: {"picture": file | None, "return": results((dict[str, Any], file))},
        calibrate: {"archive": file, "return": results((list[str], file, file))},
        batch: {"captures": several, "return": results((dict[str, Any], file | None))},
    }
    for endpoint, types in files.items():
        endpoint.__annotations__.update(types)  # Gradio tells by them what is a file
        gr.api(explained(endpoint), api_name=endpoint.__name__, concurrency_id="compute")


def reconstruct(
    example: str = "fc_8",
    capture: Any = None,
    camera: str = "flatcam",
    method: str = "auto",
    penalty: str = "gcv",
    iterations: int = 100,
    imagination: float = 0.5,
    seed: int = 0,
    stages: list[str] = ["trust"],  # noqa: B006  Gradio shows it as the default
) -> Any:
    """Reconstruct the scene in front of a lensless camera from one raw capture.

    Gives the record (settings, residuals, seconds of each stage) and a zip of the pictures, the
    linear light and the record.

    Args:
        example: Bundled capture, used where none is given: fc_6, fc_7, fc_8 (FlatCam), hand.
        capture: Raw capture as a file: PNG, TIFF, NPY or DNG.
        camera: Camera that took the capture: flatcam or diffusercam.
        method: auto, tikhonov, cg, fista or admm.
        penalty: gcv, sure, discrepancy, or a positive number as text.
        iterations: Most iterations of cg, fista and admm, from 1 to 300.
        imagination: Of the refiner, from 0 (only what was measured) to 1.
        seed: Seed of all noise.
        stages: Any of trust, refine and people.
    """
    from ..stages import sources

    settings = DemoSettings(method, str(penalty), int(iterations), int(seed), imagination)
    path = upload(capture)
    source = sources.example(example) if path is None else sources.uploaded(path, camera)
    return _run(source, settings, stages)


def photograph(
    picture: Any = None,
    mask: str = "m-sequence",
    feature_um: float = 30.0,
    mask_distance_mm: float = 1.95,
    field_of_view_deg: float = 36.0,
    full_well_e: float = 20000.0,
    read_noise_e: float = 3.0,
    seed: int = 0,
    stages: list[str] = ["trust"],  # noqa: B006
) -> Any:
    """Take a picture with a virtual lensless camera and reconstruct the scene from its capture.

    Gives the record, with the PSNR against the scene, and a zip of everything.

    Args:
        picture: PNG, JPEG, TIFF or WebP; an astronaut where none is given.
        mask: m-sequence, mura or random.
        feature_um: Width of a mask feature in micrometres.
        mask_distance_mm: Distance of mask and sensor in millimetres.
        field_of_view_deg: Angle that the scene spans.
        full_well_e: Electrons at which a pixel saturates; less is less light.
        read_noise_e: Read noise in electrons.
        seed: Seed of the sensor's noise and of a random mask.
        stages: Any of trust, refine and people.
    """
    source, _ = virtual_source(
        mask,
        feature_um,
        mask_distance_mm,
        field_of_view_deg,
        full_well_e,
        read_noise_e,
        seed,
        picture,
    )
    return _run(source, DemoSettings(seed=int(seed)), stages)


def calibrate(
    archive: Any, white_level: float = 4095.0, black_level: float = 0.0, bayer: str = "none"
) -> Any:
    """Fit a camera record to a zip of captures of calibration patterns.

    Gives what is wrong with captures that were not used, the camera record, and a report as HTML.

    Args:
        archive: Zip of raw captures named after their patterns, and the patterns' manifest.json.
        white_level: Count at which the sensor saturates.
        black_level: Count without light.
        bayer: none, RGGB, BGGR, GRBG or GBRG.
    """
    from ..stages import jobs

    path = upload(archive)
    if path is None:
        raise ValueError("archive is missing")
    fitted = jobs.calibrate(
        path,
        white_level=white_level,
        black_level=black_level,
        bayer=None if bayer == "none" else bayer,  # type: ignore[arg-type]
    )
    with TemporaryDirectory() as folder:
        record, page = Path(folder) / "camera.safetensors", Path(folder) / "report.html"
        fitted.camera.save(record)
        page.write_text(fitted.report, encoding="utf-8")
        return fitted.problems, _download(record), _download(page)


def batch(captures: list[Any], camera: str = "flatcam", method: str = "auto") -> Any:
    """Reconstruct several raw captures of one camera.

    Gives the mean residual of each capture and what is wrong with those that cannot be used, and
    a zip of the results.

    Args:
        captures: Raw captures as files, at most 20.
        camera: Camera that took them: flatcam or diffusercam.
        method: auto, tikhonov, cg, fista or admm.
    """
    from ..stages.chain import linear_settings
    from ..stages.jobs import run_batch
    from ..stages.sources import bundled_camera

    with TemporaryDirectory() as folder:
        target = Path(folder) / "barelens_batch.zip"
        settings = linear_settings(DemoSettings(method))
        result = run_batch(uploads(captures), bundled_camera(camera), settings, target)
        return vars(result), _download(target) if result.done else None


def _run(
    source: "Source", settings: DemoSettings, stages: Sequence[str]
) -> tuple[dict[str, Any], Any]:
    from ..stages.bundle import write_bundle
    from ..stages.chain import run

    *_, outcome = run(source, settings, stages)
    with TemporaryDirectory() as folder:
        target = Path(folder) / f"barelens_{source.name}.zip"
        record = write_bundle(target, outcome)
        return record, _download(target)


def _download(path: Path) -> Any:
    """Copy a result to where Gradio serves files from, and deletes them in time."""
    from gradio.processing_utils import save_file_to_cache
    from gradio.utils import get_upload_folder

    return load_gradio().FileData(path=save_file_to_cache(path, get_upload_folder()))
