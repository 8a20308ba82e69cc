"""Light on people: a sky, lamps and folds of cloth, from normals to colours."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .materials import Material

__all__ = ["Light", "fold_normals", "sample_light"]


@dataclass(frozen=True, eq=False)
class Light:
    """Light from all around and from a few lamps, in the camera's axes.

    Attributes
    ----------
    ambient : Tensor, shape (3,)
        Linear RGB from everywhere.
    sky : Tensor, shape (2, 3)
        Direction, times how much more comes from there, and colour.
    lamps, colours : Tensor, shape (lamps, 3)
        Unit vectors towards them, and linear RGB.
    gloss : float
        Share of light that is mirrored.
    """

    ambient: Tensor
    sky: Tensor
    lamps: Tensor
    colours: Tensor
    gloss: float

    def shade(self, albedo: Tensor, normals: Tensor, towards_camera: Tensor) -> Tensor:
        """Light surfaces; all of shape (count, 3), colours linear."""
        half = (1 + normals @ self.sky[0]) / 2
        light = self.ambient + half.clamp(min=0)[:, None] * self.sky[1]
        light = light + (normals @ self.lamps.mT).clamp(min=0) @ self.colours
        halfway = F.normalize(self.lamps + towards_camera[:, None], dim=-1)
        mirrored = (normals[:, None] * halfway).sum(dim=-1).clamp(min=0) ** 24
        return albedo * light + self.gloss * mirrored @ self.colours


def sample_light(random: np.random.Generator) -> Light:
    """Draw light: mostly from above, of about equal strength in all, sometimes harsh or tinted."""
    lamps = random.normal(0, 1, (2, 3)) + np.array([0, 0.7, 0.5])
    lamps /= np.linalg.norm(lamps, axis=1, keepdims=True)
    tint = np.exp(random.normal(0, 0.12, (4, 3)))
    strength = random.dirichlet([2.0, 2.0, 2.5, 1.0])[:, None] * random.uniform(0.8, 2.4) * tint
    direction = np.array([random.normal(0, 0.2), 0.9, random.normal(0.1, 0.2)])
    arrays = (strength[0], np.stack([direction, strength[1]]), lamps, 1.3 * strength[2:])
    ambient, sky, towards, colours = (torch.from_numpy(array).float() for array in arrays)
    return Light(ambient, sky, towards, colours, gloss=float(random.uniform(0, 0.12)))


def fold_normals(
    random: np.random.Generator, normals: Tensor, place: Tensor, material: Tensor
) -> Tensor:
    """Tilt the normals (count, 3) of cloth as folds would, for shading only.

    Parameters
    ----------
    random : numpy Generator
        For the strength, size and direction of folds.
    normals, place : Tensor, shape (count, 3)
        Unit normals, and places on the body at rest in metres.
    material : Tensor, shape (count,)
        :class:`Material` of each; only cloth has folds.
    """
    waves = torch.from_numpy(random.normal(0, 1, (5, 3)) * random.uniform(8, 45, (5, 1))).float()
    tilts = torch.from_numpy(random.normal(0, random.uniform(0, 0.22), (5, 3))).float()
    phases = torch.from_numpy(random.uniform(0, 2 * np.pi, 5)).float()
    ripples = torch.sin(place @ waves.mT + phases + torch.sin(place @ waves.roll(1, 0).mT))
    cloth = (material >= int(Material.HAIR)).float()[:, None]
    return F.normalize(normals + cloth * (ripples @ tilts), dim=1)
