"""From settings to a trained refiner: data, cameras, the loop and the folder that comes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..calibration import Camera
from ..imaging.solvers import SeparableFactors
from .training_cameras import load_camera, observer, separable, simulated

if TYPE_CHECKING:
    from ..imaging.refine import RefinerParts, SeparableTransform
    from ..imaging.refine.training import (
        Objective,
        PairSource,
        TrainingSettings,
    )

__all__ = ["distill_refiner", "make_pairs", "train_refiner"]

#: Tikhonov's penalty over the largest squared gain, where a learned transform starts.
_START_PENALTY = 1e-3

Report = Callable[[str], object]


def train_refiner(
    settings: "TrainingSettings",
    out: Path,
    *,
    cache: Path | None = None,
    until: int | None = None,
    dtype: torch.dtype = torch.float32,
    report: Report = print,
) -> Path:
    """Train, or go on training, and write the refiner to ``out/refiner``.

    Parameters
    ----------
    settings : TrainingSettings
        Everything that decides the result.
    out : Path
        Folder of the run.
    cache : Path, optional
        Where to keep simulated pairs; by default they are simulated anew each epoch.
    until : int, optional
        Step to stop at, before the last.
    dtype : torch.dtype, optional
        Of the weights that are written; training itself is in float32.
    report : callable, optional
        Called with one line for all that a person should know.

    Returns
    -------
    Path
        The refiner's folder.

    Raises
    ------
    ImportError
        An optional package is missing.
    ValueError, FileNotFoundError
        The settings cannot be met.
    TrainingError
        Training went wrong in a way that going on would not mend.
    """
    from ..imaging.refine.training import DenoisingObjective, build_parts

    pairs = make_pairs(settings, cache=cache, report=report)
    capture_size = transform = None
    if settings.model.conditioning == "capture":
        height, width = pairs[0].conditioning.shape[-2:]
        capture_size = (height, width)
        transform = _camera_transform(settings)
    parts = build_parts(settings, capture_size=capture_size, transform=transform)
    objective = DenoisingObjective(
        parts,
        preview_weight=settings.preview_weight,
        balanced=settings.balanced,
        edge_weight=settings.edge_weight,
    )
    # One step of a model that predicts pictures gives the mean of all that fit.
    recommended = {"scheduler": "ddim", "steps": 1} if settings.model.base is None else {}
    run = _Run(settings, out, pairs, cache, until, dtype, report)
    return run(parts, objective, recommended)


def distill_refiner(
    settings: "TrainingSettings",
    teacher: Path,
    out: Path,
    *,
    student_steps: int = 4,
    teacher_steps: int = 4,
    cache: Path | None = None,
    until: int | None = None,
    dtype: torch.dtype = torch.float32,
    report: Report = print,
) -> Path:
    """Teach a copy of a refiner to take fewer steps, and write it to ``out/refiner``.

    Parameters
    ----------
    settings : TrainingSettings
        Data and optimization; the networks are the teacher's.
    teacher : Path
        A refiner's folder.
    out : Path
        Folder of the run.
    student_steps, teacher_steps : int, optional
        See :class:`~barelens.imaging.refine.training.DistillationObjective`.
    cache, until, dtype, report
        As for :func:`train_refiner`.

    Returns
    -------
    Path
        The new refiner's folder.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such teacher, or it takes other data than the settings give.
    """
    from ..imaging.refine import RefinerParts
    from ..imaging.refine.training import DistillationObjective

    parts, frozen = RefinerParts.load(teacher), RefinerParts.load(teacher)
    if parts.record.conditioning != settings.model.conditioning:
        raise ValueError(
            f"{teacher} sees {parts.record.conditioning!r} conditioning, the settings give "
            f"{settings.model.conditioning!r}"
        )
    # Strides are drawn evenly: no example is held at the last timestep.
    settings = settings.changed(terminal_share=0.0)
    for network in (parts.unet, parts.controlnet):
        network.train().requires_grad_(True)
    objective = DistillationObjective(
        parts, frozen, student_steps=student_steps, teacher_steps=teacher_steps
    )
    pairs = make_pairs(settings, cache=cache, report=report)
    run = _Run(settings, out, pairs, cache, until, dtype, report, sample_steps=student_steps)
    return run(parts, objective, {"scheduler": "ddim", "steps": student_steps})


@dataclass(frozen=True)
class _Run:
    """What training and distilling have in common."""

    settings: "TrainingSettings"
    out: Path
    pairs: "PairSource"
    cache: Path | None
    until: int | None
    dtype: torch.dtype
    report: Report
    sample_steps: int = 1

    def __call__(
        self, parts: "RefinerParts", objective: "Objective", recommended: dict[str, Any]
    ) -> Path:
        """Train and export."""
        from ..imaging.refine.training import Trainer, Validation, export

        settings = self.settings
        held = make_pairs(settings, validation=True, cache=self.cache, report=self.report)
        validation = Validation(
            held, settings.validation_pairs, self.out / "validation", steps=self.sample_steps
        )
        trainer = Trainer(
            parts,
            objective,
            self.pairs,
            settings,
            self.out,
            validate=validation,
            report=self.report,
        )
        trainer.run(self.until)
        provenance = {
            "training": settings.record(),
            "steps": trainer.step,
            "skipped_steps": trainer.bad_steps,
        }
        folder = self.out / "refiner"
        if not trainer.leads:
            return folder
        with trainer.averaged() as averaged:
            export(averaged, folder, dtype=self.dtype, settings=recommended, provenance=provenance)
        return folder


def make_pairs(
    settings: "TrainingSettings",
    *,
    validation: bool = False,
    cache: Path | None = None,
    report: Report = print,
) -> "PairSource":
    """Give the pairs that settings describe, or others like them for validation.

    Real captures are not split: for them both are the same, and validation shows memory, not
    generalisation, unless it is given a folder of its own.
    """
    from ..imaging.refine.training import (
        CachedPairs,
        CapturePairs,
        PictureFolder,
        SelectedPairs,
        SimulatedPairs,
        difuzcam_entries,
        find_pictures,
        folder_entries,
    )

    wanted = settings.data
    cameras = [load_camera(source) for source in wanted.cameras]
    if wanted.kind != "simulate":
        if len(cameras) != 1 or len(wanted.sources) != 1:
            raise ValueError("data of real captures needs one source and one camera")
        listing = folder_entries if wanted.kind == "pairs" else difuzcam_entries
        return CapturePairs(
            listing(Path(wanted.sources[0])),
            observer(cameras[0]),
            conditioning=settings.model.conditioning,
            side=_picture_side(cameras[0], settings),
            seed=None if validation else settings.seed,
            start=settings.model.start,
            report=report,
        )
    pictures = find_pictures(wanted.sources) if wanted.sources else []
    pairs: PairSource = SimulatedPairs(
        settings.validation_pairs if validation else wanted.number,
        wanted.side,
        seed=settings.seed + validation,
        pictures=PictureFolder(pictures, report=report) if pictures else None,
        real_cameras=[simulated(camera) for camera in cameras],
        num_cameras=wanted.num_cameras,
        render_share=wanted.render_share,
        real_share=wanted.real_share,
        start=settings.model.start,
    )
    if cache is not None:
        pairs = CachedPairs(pairs, cache / ("validation" if validation else "training"))
    if validation or wanted.largest_coarse_error is None:
        return pairs
    return SelectedPairs(pairs, wanted.largest_coarse_error)


def _camera_transform(settings: "TrainingSettings") -> "SeparableTransform | None":
    """Start the learned transform from the camera's Tikhonov factors, where that is asked for."""
    from ..imaging.refine import SeparableTransform

    if settings.model.transform == "random":
        return None
    factors = SeparableFactors.of(separable(load_camera(settings.data.cameras[0])))
    penalty = _START_PENALTY * float(factors.gains.amax()) ** 2
    side = settings.model.picture_size
    return SeparableTransform.from_camera_factors(factors, penalty, (side, side))


def _picture_side(camera: Camera, settings: "TrainingSettings") -> int:
    if settings.model.conditioning == "capture":
        return settings.model.picture_size
    return int(camera.operator().scene_shape[-1])
