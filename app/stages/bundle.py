"""Everything about one capture as one zip with its record."""

import platform
import re
import statistics
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ...imaging.files import atomic_path, write_json, write_png, write_raw_png16, write_tiff16
from .outcome import Outcome

__all__ = ["numbers", "pack", "write_bundle"]

RECORD_FORMAT = "barelens.demo"
RECORD_VERSION = 1


def write_bundle(path: Path, outcome: Outcome) -> dict[str, Any]:
    """Write raw capture, camera, linear light, pictures and record into one zip.

    Parameters
    ----------
    path : Path
        The zip; it appears whole or not at all.
    outcome : Outcome
        What to write.

    Returns
    -------
    dict
        The record.
    """
    name = re.sub(r"[^\w.-]+", "_", outcome.source.name) or "capture"
    with TemporaryDirectory() as folder:
        files = _write_files(Path(folder), name, outcome)
        record = _record(outcome, files)
        write_json(Path(folder) / f"{name}.json", record)
        pack(path, Path(folder))
    return record


def _write_files(folder: Path, name: str, outcome: Outcome) -> dict[str, str]:
    files: dict[str, str] = {}

    def target(kind: str, suffix: str) -> Path:
        files[kind] = f"{name}.{suffix}"
        return folder / files[kind]

    raw, rgb = outcome.source.raw, outcome.scene.rgb
    if raw.ndim == 2 and not raw.is_floating_point():
        write_raw_png16(target("raw", "raw.png"), raw)
    else:
        import numpy as np

        np.save(target("raw", "raw.npy"), raw.numpy(), allow_pickle=False)
    outcome.source.camera.save(target("camera", "camera.safetensors"))
    black, white = min(float(rgb.min()), 0.0), float(rgb.max())
    write_tiff16(target("linear", "linear.tif"), rgb, black=black, white=white)
    if outcome.refined is not None:
        image = outcome.refined.image[0].cpu()
        black, white = min(float(image.min()), 0.0), float(image.max())
        write_tiff16(target("refined", "refined.tif"), image, black=black, white=white)
    for panel in (outcome.capture, outcome.linear, *outcome.panels):
        write_png(target(f"{panel.key} picture", f"{panel.key}.png"), panel.picture)
    return files


def _record(outcome: Outcome, files: dict[str, str]) -> dict[str, Any]:
    source = outcome.source
    return {
        "format": RECORD_FORMAT,
        "format_version": RECORD_VERSION,
        "source": source.record,
        "camera": {"name": source.camera.name, "digest": source.camera.digest},
        "settings": outcome.settings.record(),
        "files": files,
        "stages": outcome.record,
        "skipped": outcome.skipped,
        "seconds": outcome.seconds,
        "versions": {
            "barelens": version("barelens"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def pack(path: Path, folder: Path) -> None:
    """Pack the files of a folder into a zip; pictures are not compressed a second time."""
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for file in sorted(folder.iterdir()):
            squeeze = zipfile.ZIP_DEFLATED if file.suffix in (".json", ".tif", ".html") else None
            archive.write(file, file.name, compress_type=squeeze)


def numbers(outcome: Outcome) -> list[tuple[str, str]]:
    """Give the numbers of an outcome in words, most important first."""
    record = outcome.record
    wanted: list[tuple[str, Callable[[], str]]] = [
        ("Camera", lambda: outcome.source.camera.name),
        ("Method", lambda: record["linear"]["settings"]["method"]),
        ("PSNR, linear", lambda: f"{record['linear']['psnr_db']:.1f} dB"),
        ("PSNR, refined", lambda: f"{record['refine']['psnr_db']:.1f} dB"),
        (
            "Residual: share of the capture that is not explained",
            lambda: f"{_mean(record['linear']['solution']['residual']):.0%}",
        ),
        (
            "Share of the picture that was measured",
            lambda: f"{_mean(record['trust']['measured']['of_picture']):.0%}",
        ),
        (
            "Does the camera record explain the capture?",
            lambda: ", ".join(sorted(set(record["trust"]["camera"]["verdict"]))),
        ),
        (
            "Residual over noise, linear",
            lambda: f"{_mean(record['refine']['residual']['linear']):.2f}",
        ),
        (
            "Residual over noise, refined",
            lambda: f"{_mean(record['refine']['residual']['refined']):.2f}",
        ),
        ("People", lambda: str(record["people"]["people"])),
    ]
    rows = []
    for name, find in wanted:
        try:
            rows.append((name, find()))
        except (KeyError, TypeError):  # not asked for, or not to be had for this camera
            continue
    rows += [(f"Time, {stage}", f"{seconds:.2f} s") for stage, seconds in outcome.seconds.items()]
    return rows + [(f"Left out: {stage}", reason) for stage, reason in outcome.skipped.items()]


def _mean(values: Any) -> float:
    return statistics.fmean(values) if isinstance(values, list) else float(values)
