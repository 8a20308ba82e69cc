"""What of a refined picture was measured, what the model made up, and whether that can be true."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..imaging import SeparableFactors
from ..imaging.bayer import plane_mixing
from ..imaging.refine import resize
from ..imaging.refine.resample import Resampling
from ..imaging.trust import (
    Conformal,
    Split,
    WindowTest,
    check_picture,
    combine_verdicts,
    keep_measured_colours,
    local_std,
    reconstruction_variance,
    sampled_std,
    split_colours,
)
from .json_numbers import json_numbers
from .trust_evidence import NOISE_UNCERTAINTY, SIGNIFICANCE
from .trust_record import SHARE_WINDOW, Trust
from .trust_summary import coarse_map, interval_entry, level_entry, std_summary

__all__ = ["RefinedReport", "RefinedTrust"]


@dataclass(frozen=True, eq=False)
class RefinedReport:
    """How far a refined picture is the sensor's, and how far the model's.

    Attributes
    ----------
    record : dict
        The numbers, as JSON data.
    measured_share : Tensor of float32, shape (height, width)
        Share of the picture's contrast that the sensor measured, NaN where there is none; on the
        CPU.
    std : Tensor of float32, shape (height, width)
        Expected error, mean over colours, in units of the picture; on the CPU. Without further
        samples of the model it knows nothing of what the model might have drawn instead.
    half_width : Tensor of float32 or None, shape (height, width)
        Of the interval around each pixel, where intervals are calibrated.
    """

    record: dict[str, Any]
    measured_share: Tensor
    std: Tensor
    half_width: Tensor | None = None


class RefinedTrust:
    """Say of refined pictures of one separable camera how far they can be trusted.

    Parameters
    ----------
    trust : Trust
        What judges the camera's linear reconstructions.
    factors : SeparableFactors
        The camera.
    colour_matrix : Tensor, shape (3, 3), optional
        From the camera's RGB to that of pictures.
    intervals : Conformal, optional
        Calibration of expected errors of refined pictures.

    Raises
    ------
    ValueError
        Intervals were calibrated on linear pictures.
    """

    def __init__(
        self,
        trust: Trust,
        factors: SeparableFactors,
        colour_matrix: Tensor | None = None,
        intervals: Conformal | None = None,
    ) -> None:
        self._trust = trust
        self._intervals = intervals and intervals.checked("refined")
        self._factors = factors
        self._colour_matrix = colour_matrix
        self._size = factors.scene_shape[-2], factors.scene_shape[-1]
        self._windows = WindowTest(factors, window=min(16, *self._size))

    def __call__(
        self,
        raw: Tensor,
        image: Tensor,
        linear_trust: Mapping[str, Any],
        samples: Tensor | None = None,
    ) -> RefinedReport:
        """Judge a refined picture.

        Parameters
        ----------
        raw : Tensor, shape frame_shape
            The raw frame.
        image : Tensor, shape (3, height, width)
            Linear light of the refined picture, of any size.
        linear_trust : mapping
            What the record of the linear reconstruction says of it.
        samples : Tensor, shape (samples, 3, height, width), optional
            Two or more pictures that the model drew of the capture, this one among them.

        Returns
        -------
        RefinedReport
            Numbers and maps.
        """
        scene = self._lowered(image)
        noise, prior = self._levels(linear_trust)
        split = self._split(scene, linear_trust)
        variance = reconstruction_variance(self._factors, noise, prior)
        floor = variance.noise.mean().sqrt()
        share = split.share_map(SHARE_WINDOW, of="contrast", floor=floor).nanmean(-3)
        planes = torch.einsum(
            "ij,jhw->ihw", plane_mixing(len(noise), self._colour_matrix).to(scene), scene
        )
        capture = self._trust.filled(raw, noise, prior)
        fit = check_picture(
            self._factors, planes, capture, noise, prior, uncertainty=NOISE_UNCERTAINTY
        )
        found = self._windows.find(fit, SIGNIFICANCE)
        verdict, camera_verdict = combine_verdicts(
            linear_trust["camera"]["verdict"], fit, found, SIGNIFICANCE
        )
        merged = self._trust.merged(variance, planes)
        if samples is None:
            std = local_std(merged, scene)
        else:
            std = sampled_std(merged, scene, torch.stack([self._lowered(each) for each in samples]))
        half_width, interval = interval_entry(self._intervals, std)
        record = {
            "verdict": verdict,
            "camera_verdict": camera_verdict,
            "measured": {"of_picture": json_numbers(split.fraction())},
            "picture": level_entry(fit.level),
            "windows": {"tested": found.numel(), "standing_out": int(found.sum())},
            "std": {"samples": 1 if samples is None else len(samples), **std_summary(std)},
            **interval,
            "maps": {"measured_share": coarse_map(share), "std": coarse_map(std.mean(0))},
        }
        size = (image.shape[-2], image.shape[-1])
        return RefinedReport(
            record,
            _enlarged(share, size),
            _enlarged(std.mean(0), size),
            None if half_width is None else _enlarged(half_width, size),
        )

    def prompt_change(
        self, image: Tensor, without: Tensor, linear_trust: Mapping[str, Any]
    ) -> dict[str, float | None]:
        """Say what a prompt changed, and how much of the change is about what was measured.

        Parameters
        ----------
        image, without : Tensor, shape (3, height, width)
            Linear light of the picture with the prompt, and of that without but with the same
            seed.
        linear_trust : mapping
            As for a call.

        Returns
        -------
        dict
            Root mean square of the change over that of the picture without, and the share of the
            change's energy that lies in the measured part, which contradicts the sensor.
        """
        reference = self._lowered(without)
        change = self._split(self._lowered(image) - reference, linear_trust)
        energy = change.picture.square().sum()
        return {
            "change": json_numbers((energy / reference.square().sum()).sqrt()),
            "measured_part": json_numbers((change.picture * change.measured).sum() / energy),
        }

    def keep_measured(
        self, image: Tensor, without: Tensor, linear_trust: Mapping[str, Any]
    ) -> Tensor:
        """Undo what a prompt changed in the measured part; as for :meth:`prompt_change`.

        A picture smaller than the scene follows as far as its samples can.
        """
        scene, reference = self._lowered(image), self._lowered(without)
        noise, prior = self._levels(linear_trust)
        kept = keep_measured_colours(
            scene, reference, self._factors, noise, prior, colour_matrix=self._colour_matrix
        )
        resampling = Resampling(self._size, (image.shape[-2], image.shape[-1]))
        return image + resampling.lift(kept - scene)

    def _lowered(self, image: Tensor) -> Tensor:
        return resize(image[None].to(self._factors.gains), self._size)[0]

    def _split(self, scene: Tensor, linear_trust: Mapping[str, Any]) -> Split:
        noise, prior = self._levels(linear_trust)
        return split_colours(scene, self._factors, noise, prior, colour_matrix=self._colour_matrix)

    def _levels(self, linear_trust: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Noise with all that no scene explains, and strength of the scene, of each plane."""
        noise, prior = (
            torch.tensor(linear_trust[name]).to(self._factors.gains)
            for name in ("misfit_std", "prior_std")
        )
        return noise, prior


def _enlarged(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring a map (height, width) of the scene to the picture's size, on the CPU."""
    return torch.nn.functional.interpolate(values.float().cpu()[None, None], size)[0, 0]
