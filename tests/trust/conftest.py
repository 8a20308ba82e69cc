"""Small cameras whose shadows are wider than a pixel, as those of real masks are."""

import pytest
import torch

from barelens.imaging import SeparableOperator
from barelens.imaging.trust import factorise


def _transfer(sensor, scene, seed):
    """Shift-invariant transfer: a random profile, smoothed over three samples, moved by half."""
    generator = torch.Generator().manual_seed(seed)
    profile = torch.randn(2 * sensor + scene + 2, generator=generator, dtype=torch.float64)
    profile = profile[2:] + 2 * profile[1:-1] + profile[:-2]
    rows, columns = torch.arange(sensor)[:, None], torch.arange(scene)
    return profile[2 * rows - columns + scene]


def make_operator(*, sensor=(72, 64), scene=(40, 36), planes=None, mean_free=True):
    seeds = range(planes or 1)
    left = torch.stack([_transfer(sensor[0], scene[0], 2 * seed) for seed in seeds])
    right = torch.stack([_transfer(sensor[1], scene[1], 2 * seed + 1) for seed in seeds])
    if planes is None:
        left, right = left[0], right[0]
    operator = SeparableOperator(left, right)
    return operator.centred() if mean_free else operator


@pytest.fixture(scope="session")
def operator():
    return make_operator()


@pytest.fixture(scope="session")
def factors(operator):
    return factorise(operator)


@pytest.fixture(scope="session")
def colour_operator():
    return make_operator(planes=4)


@pytest.fixture(scope="session")
def scene():
    """A smooth scene with an edge, in [0, 1]."""
    rows, columns = torch.meshgrid(
        torch.linspace(0, 3, 40, dtype=torch.float64),
        torch.linspace(0, 2, 36, dtype=torch.float64),
        indexing="ij",
    )
    return 0.4 + 0.2 * torch.sin(rows * columns) + 0.3 * (rows > 1.5)
