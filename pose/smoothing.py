"""Keypoints without jitter: the one-euro filter, on all points at once."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..imaging.shapes import ShapeError
from .outputs import HumanOutput, Person

__all__ = ["KeypointSmoother", "OneEuroFilter"]


class OneEuroFilter:
    """A low-pass filter that opens up where things move: smooth at rest, prompt in motion.

    Every point is filtered by ``smoothed += a (value - smoothed)`` with ``a = 1 / (1 + 1 / (2 pi
    cutoff dt))`` and ``cutoff = min_cutoff_hz + beta * speed``. A point that moves steadily lags
    by ``speed / (2 pi cutoff)`` at most, so by less than ``1 / (2 pi beta)``.

    Parameters
    ----------
    min_cutoff_hz : float
        Cutoff at rest: lower is smoother.
    beta : float
        How much speed, in units of the values per second, raises the cutoff: higher lags less.
    speed_cutoff_hz : float
        Cutoff of the filter that the speed itself goes through.

    References
    ----------
    Casiez, Roussel, Vogel, "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
    Interactive Systems", CHI 2012.
    """

    def __init__(
        self, *, min_cutoff_hz: float = 1.0, beta: float = 1.0, speed_cutoff_hz: float = 1.0
    ) -> None:
        for name, value in (("min_cutoff_hz", min_cutoff_hz), ("speed_cutoff_hz", speed_cutoff_hz)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if beta < 0:
            raise ValueError(f"beta must not be negative, got {beta}")
        self.min_cutoff_hz = min_cutoff_hz
        self.beta = beta
        self.speed_cutoff_hz = speed_cutoff_hz
        self._values: Tensor | None = None

    def __call__(self, values: Tensor, time_s: float, *, known: Tensor | None = None) -> Tensor:
        """Filter the values of one moment.

        Parameters
        ----------
        values : Tensor of a floating-point dtype, shape (..., axes)
            Positions; the last axis is one point's coordinates. The same shape at every call.
        time_s : float
            Later than at the call before.
        known : Tensor of bool, shape (...), optional
            Which points were measured now. The others are handed on as they are, and their next
            measurement is filtered over the longer time.

        Returns
        -------
        Tensor, shape (..., axes)
        """
        if known is None:
            known = values.new_ones(values.shape[:-1], dtype=torch.bool)
        if self._values is None:
            self._values = values.clone()
            self._speeds = torch.zeros_like(values)
            self._times_s = torch.where(known, time_s, -math.inf).to(torch.float64)
            return values
        if values.shape != self._values.shape:
            raise ShapeError(
                f"values must keep their shape {tuple(self._values.shape)}, got "
                f"{tuple(values.shape)}"
            )
        elapsed_s = time_s - self._times_s
        if bool((elapsed_s[known] <= 0).any()):
            raise ValueError(f"time_s must be later than at the call before, got {time_s}")
        fresh = torch.isinf(elapsed_s)
        # Where a point is new or not known now, any time serves: the result is not used.
        dt = torch.where(fresh | ~known, 1.0, elapsed_s)[..., None].to(values.dtype)
        # From the smoothed place, as published: it errs towards a higher speed and less lag.
        speeds = (values - self._values) / dt
        speeds = torch.lerp(self._speeds, speeds, _share(self.speed_cutoff_hz, dt))
        speed = torch.linalg.vector_norm(speeds, dim=-1, keepdim=True)
        cutoff_hz = self.min_cutoff_hz + self.beta * speed
        smoothed = torch.lerp(self._values, values, _share(cutoff_hz, dt))
        filtered = (known & ~fresh)[..., None]
        self._values = torch.where(
            filtered, smoothed, torch.where(known[..., None], values, self._values)
        )
        self._speeds = torch.where(filtered, speeds, self._speeds)
        self._times_s = torch.where(known, time_s, self._times_s)
        return torch.where(known[..., None], self._values, values)


class KeypointSmoother:
    """Filter the keypoints of people in a video, each track by itself.

    Lengths are measured by the size of the person's box, so that the settings fit people near and
    far.

    Parameters
    ----------
    min_cutoff_hz, beta, speed_cutoff_hz : float
        As for :class:`OneEuroFilter`; speed is in sizes of the person per second.
    forget_s : float
        A track not seen for so long starts afresh.
    """

    def __init__(
        self,
        *,
        min_cutoff_hz: float = 1.5,
        beta: float = 5.0,
        speed_cutoff_hz: float = 1.0,
        forget_s: float = 1.0,
    ) -> None:
        self._settings = {
            "min_cutoff_hz": min_cutoff_hz,
            "beta": beta,
            "speed_cutoff_hz": speed_cutoff_hz,
        }
        OneEuroFilter(**self._settings)  # refuses wrong settings now, not at the first person
        self.forget_s = forget_s
        self._tracks: dict[int, _Track] = {}

    def __call__(self, output: HumanOutput, time_s: float) -> HumanOutput:
        """Return the output of one frame with smooth keypoints; people need tracks."""
        people = tuple(self._person(person, time_s) for person in output.people)
        self._tracks = {
            number: track
            for number, track in self._tracks.items()
            if time_s - track.seen_s <= self.forget_s
        }
        return replace(output, people=people)

    def _person(self, person: Person, time_s: float) -> Person:
        if person.track is None:
            raise ValueError("people must have tracks to be smoothed, got one without")
        if person.keypoints is None:
            return person
        size = float((person.box[2:] - person.box[:2]).amax())
        track = self._tracks.get(person.track)
        if track is None or time_s - track.seen_s > self.forget_s:
            track = self._tracks[person.track] = _Track(
                OneEuroFilter(**self._settings), max(size, 1.0)
            )
        track.seen_s = time_s
        scores = person.keypoint_scores
        known = None if scores is None else scores > 0
        # One unit of length for the whole track: a changing one would itself look like motion.
        smooth = track.filter(person.keypoints / track.unit_px, time_s, known=known)
        return replace(person, keypoints=smooth * track.unit_px)


class _Track:
    """The filter of one person, and its unit of length."""

    def __init__(self, filter: OneEuroFilter, unit_px: float) -> None:
        self.filter = filter
        self.unit_px = unit_px
        self.seen_s = -math.inf


def _share(cutoff_hz: float | Tensor, dt: Tensor) -> Tensor:
    """How much of a new value goes into the mean of a low-pass filter."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * dt))
