"""How to refine."""

from dataclasses import dataclass

from .schedules import SCHEDULERS

__all__ = ["RefinerSettings"]


@dataclass(frozen=True)
class RefinerSettings:
    """How a refiner samples, and how closely the result is tied to the measurement.

    Attributes
    ----------
    steps : int
        Evaluations of the networks.
    scheduler : {"unipc", "ddim", "dpm++", "lcm", "tcd"}
        The sampler; the last two are for models distilled to few steps.
    seed : int
        Seed of all noise. Every item of a batch gets the same, so that a picture does not depend
        on its place in a batch.
    strength : float
        Where to start, in (0, 1]: at 1 from noise alone, below from the linear reconstruction
        with that share of the noise schedule still ahead.
    imagination : float
        The fidelity dial, in [0, 1]. 0 gives the linear reconstruction, only what was measured;
        0.5 the imagined picture with its measured part put right as far as the noise allows; 1
        the picture as the model imagines it; values between blend the nearer two.
    consistency_steps : int or None
        The last so many steps put the measured part right while sampling; None does it at each.
        In a latent space each costs a pass through the VAE both ways.
    conditioning_scale : float
        Factor of what the ControlNet adds, at least 0.
    guidance_scale : float
        Classifier-free guidance, at least 1; 1 is none, and half as much work.
    prompt, negative_prompt : str
        What the picture shows and what it does not; the latter is used with guidance only.
    size : tuple of int or None
        (height, width) of the picture; by default what the model was trained for, else the
        scene's own.
    tile : int or None
        Side of overlapping tiles, in picture pixels, for fields too large to be refined at once.
    tile_overlap : int
        Pixels that neighbouring tiles share, below ``tile``.

    Raises
    ------
    ValueError
        A setting is out of range.
    """

    steps: int = 20
    scheduler: str = "unipc"
    seed: int = 0
    strength: float = 1.0
    imagination: float = 0.5
    consistency_steps: int | None = 0
    conditioning_scale: float = 1.0
    guidance_scale: float = 1.0
    prompt: str = ""
    negative_prompt: str = ""
    size: tuple[int, int] | None = None
    tile: int | None = None
    tile_overlap: int = 64

    def __post_init__(self) -> None:
        if self.scheduler not in SCHEDULERS:
            known = ", ".join(SCHEDULERS)
            raise ValueError(f"unknown scheduler {self.scheduler!r}; choose one of: {known}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength must be in (0, 1], got {self.strength}")
        if not 0 <= self.imagination <= 1:
            raise ValueError(f"imagination must be in [0, 1], got {self.imagination}")
        if self.consistency_steps is not None and self.consistency_steps < 0:
            raise ValueError(
                f"consistency_steps must be None or at least 0, got {self.consistency_steps}"
            )
        if not self.conditioning_scale >= 0:
            raise ValueError(
                f"conditioning_scale must be at least 0, got {self.conditioning_scale}"
            )
        if not self.guidance_scale >= 1:
            raise ValueError(f"guidance_scale must be at least 1, got {self.guidance_scale}")
        if self.size is not None:
            object.__setattr__(self, "size", tuple(self.size))
            if len(self.size) != 2 or min(self.size) < 1:
                raise ValueError(f"size must be (height, width), got {self.size}")
        if self.tile is not None and not 0 <= self.tile_overlap < self.tile:
            raise ValueError(
                f"tile_overlap must be from 0 to below tile={self.tile}, got {self.tile_overlap}"
            )

    def corrects(self, step: int) -> bool:
        """Whether a step, counted from 0, puts the measured part right."""
        return self.consistency_steps is None or step >= self.steps - self.consistency_steps
