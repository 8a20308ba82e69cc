"""What people are made of and wear: materials with their colours and patterns."""

import colorsys
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

__all__ = ["Material", "Pattern", "sample_pattern"]


class Material(IntEnum):
    """What a triangle is made of."""

    SKIN = 0
    LIPS = 1
    BROWS = 2
    EYES = 3
    IRIS = 4
    HAIR = 5
    UPPER = 6
    LOWER = 7
    SHOES = 8


@dataclass(frozen=True, eq=False)
class Pattern:
    """Colours of each material; a wave through the body at rest goes from the first to the second.

    Attributes
    ----------
    first, second : Tensor, shape (materials, 3)
        Linear RGB.
    waves : Tensor, shape (materials, 2, 3)
        Wave vectors in radians a metre; the product of both waves makes checks and spots.
    sharpness : Tensor, shape (materials,)
        Low for soft changes, high for stripes.
    """

    first: Tensor
    second: Tensor
    waves: Tensor
    sharpness: Tensor

    def colours(self, material: Tensor, place: Tensor) -> Tensor:
        """Return linear RGB (count, 3) of materials (count,) at places (count, 3) at rest."""
        phase = (self.waves[material] * place[:, None]).sum(dim=-1)
        wave = torch.cos(phase[:, 0]) * torch.cos(phase[:, 1])
        share = torch.sigmoid(self.sharpness[material] * wave)[:, None]
        return self.first[material] * (1 - share) + self.second[material] * share


def sample_pattern(random: np.random.Generator) -> Pattern:
    """Draw the colours of a person and of all they wear."""
    count = len(Material)
    first = np.array([_colour(random, Material(index)) for index in range(count)])
    second = first * random.uniform(0.8, 1.0, (count, 1))
    waves = random.normal(0, 1, (count, 2, 3))
    waves *= random.uniform(20, 160, (count, 1, 1)) / np.linalg.norm(waves, axis=-1, keepdims=True)
    sharpness = random.uniform(0.5, 2, count)
    second[Material.SKIN] = first[Material.SKIN] * random.uniform(0.92, 1.0, 3)
    first[Material.LIPS] *= first[Material.SKIN]
    first[Material.BROWS] = second[Material.BROWS] = first[Material.HAIR] * 0.7
    for garment in (Material.UPPER, Material.LOWER, Material.SHOES):
        if random.random() < 0.4:
            second[garment] = _colour(random, garment)
            sharpness[garment] = random.choice([2.0, 30.0])
            if random.random() < 0.5:
                waves[garment, 1] = 0
    if random.random() < 0.15:  # a dress or suit
        for values in (first, second, waves, sharpness):
            values[Material.LOWER] = values[Material.UPPER]
    return Pattern(
        *(torch.from_numpy(array).float() for array in (first, second, waves, sharpness))
    )


def _colour(random: np.random.Generator, material: Material) -> tuple[float, ...]:
    """Draw the linear RGB of a material."""
    if material is Material.SKIN:
        light, dark = np.array([0.87, 0.64, 0.50]), np.array([0.22, 0.12, 0.07])
        share = random.random() ** 1.3
        colour = light ** (1 - share) * dark**share * random.uniform(0.9, 1.1, 3)
    elif material is Material.LIPS:
        colour = np.array([0.8, 0.5, 0.5]) * random.uniform(0.8, 1.1, 3)
    elif material is Material.EYES:
        colour = np.full(3, 0.75)
    elif material is Material.IRIS:
        colour = random.uniform(0.01, 0.12, 3)
    elif material is Material.HAIR:
        natural = [
            (0.01, 0.008, 0.006),
            (0.06, 0.03, 0.015),
            (0.35, 0.22, 0.09),
            (0.4, 0.4, 0.4),
            (0.25, 0.07, 0.02),
        ]
        colour = np.array(natural[random.integers(len(natural))]) * random.uniform(0.6, 1.5)
    else:
        saturation = random.choice([random.uniform(0, 0.15), random.random()])
        colour = np.array(colorsys.hsv_to_rgb(random.random(), saturation, random.random())) ** 2.2
        colour = 0.015 + 0.85 * colour
    return tuple(np.clip(colour, 0, 1))
