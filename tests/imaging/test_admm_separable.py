"""ADMM for separable cameras: the minimum of the general path, found without inner iterations."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging import (
    FiniteDifference,
    SeparableFactors,
    SeparableOperator,
    admm_tv,
    total_variation,
)
from barelens.imaging.operators import LinearOperator
from barelens.imaging.solvers.admm_separable import cosine_transform, noise_weight

SEEDS = st.integers(0, 2**31)


@dataclass(frozen=True, eq=False)
class Disguised(LinearOperator):
    """A separable camera that does not say so: ADMM takes its general path."""

    inner: SeparableOperator

    @property
    def scene_shape(self):
        return self.inner.scene_shape

    @property
    def capture_shape(self):
        return self.inner.capture_shape

    def forward(self, scene):
        return self.inner.forward(scene)

    def adjoint(self, capture):
        return self.inner.adjoint(capture)


def _random(seed, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _camera(seed, scene, channels=(), extra=5):
    left = _random(seed, *channels, scene[0] + extra, scene[0])
    return SeparableOperator(left, _random(seed + 1, *channels, scene[1] + extra + 1, scene[1]))


def _well_conditioned(scene, channels):
    """A camera whose gains lie within a factor of nine: conjugate gradients are exact enough."""
    sides = []
    for seed, side in enumerate(scene):
        vectors = torch.linalg.qr(_random(seed, *channels, side + 5, side)).Q
        sides.append(vectors * torch.linspace(0.5, 1.5, side, dtype=torch.float64))
    return SeparableOperator(*sides)


def _objective(operator, capture, scene, weight, kind="isotropic"):
    misfit = 0.5 * (operator.forward(scene) - capture).square().sum()
    ndim = len(operator.scene_shape)
    return float(misfit + weight * total_variation(scene, kind=kind, item_ndim=ndim).sum())


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("nonnegative", [True, False])
@pytest.mark.parametrize(("scene", "channels"), [((6, 7), ()), ((9, 4), (2,)), ((1, 5), ())])
def test_it_finds_the_minimum_of_the_general_path(scene, channels, kind, nonnegative):
    operator = _well_conditioned(scene, channels)
    capture = operator.forward(_random(2, *operator.scene_shape))
    capture = capture + 0.1 * _random(3, *operator.capture_shape)
    options = {"weight": 0.2, "kind": kind, "nonnegative": nonnegative}
    exact = admm_tv(operator, capture, iterations=200, **options).scene
    general = admm_tv(Disguised(operator), capture, iterations=500, **options).scene
    torch.testing.assert_close(exact, general, rtol=1e-4, atol=1e-4)
    values = [_objective(operator, capture, each, 0.2, kind) for each in (exact, general)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


@pytest.mark.parametrize("extra", [5, -3])
def test_badly_conditioned_cameras_get_no_worse_a_minimum(extra):
    operator = _camera(0, (9, 8), extra=extra)
    capture = operator.forward(_random(1, 9, 8))
    values = [
        _objective(operator, capture, admm_tv(each, capture, weight=2.0, iterations=300).scene, 2.0)
        for each in (operator, Disguised(operator))
    ]
    assert values[0] <= values[1] * (1 + 1e-6)


def test_every_item_of_a_batch_is_solved_as_if_alone():
    operator = _camera(8, (7, 6), (3,))
    capture = (
        _random(9, 2, *operator.capture_shape) * torch.tensor([1.0, 30.0])[:, None, None, None]
    )
    together = admm_tv(operator, capture, weight=1.0, iterations=70).scene
    alone = torch.stack([admm_tv(operator, y, weight=1.0, iterations=70).scene for y in capture])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("disguise", [lambda operator: operator, Disguised])
def test_each_image_has_its_own_weight(disguise):
    operator = disguise(_camera(4, (6, 7), (3,)))
    capture = _random(5, 2, *operator.capture_shape)
    weights = torch.tensor([[0.1, 1.0, 4.0], [2.0, 0.3, 8.0]], dtype=torch.float64)
    together = admm_tv(operator, capture, weight=weights, iterations=300).scene
    for item in range(2):
        for channel in range(3):
            alone = admm_tv(
                operator, capture, weight=float(weights[item, channel]), iterations=300
            ).scene
            torch.testing.assert_close(
                together[item, channel], alone[item, channel], rtol=1e-5, atol=1e-5
            )


def test_a_weight_that_is_not_positive_is_refused():
    operator = _camera(4, (6, 7))
    capture = _random(5, *operator.capture_shape)
    for weight in (0.0, torch.tensor([1.0, -1.0])):
        with pytest.raises(ValueError, match="weight must be positive"):
            admm_tv(operator, capture, weight=weight)


def test_the_residual_is_that_of_the_scene():
    operator = _camera(6, (7, 6)).centred()
    capture = _random(7, 3, *operator.capture_shape)
    solution = admm_tv(operator, capture, weight=1.0, iterations=20)
    misfit = (operator.forward(solution.scene) - capture).norm(dim=(-2, -1))
    torch.testing.assert_close(solution.residuals[-1], misfit / capture.norm(dim=(-2, -1)))


@given(size=st.tuples(st.integers(1, 12), st.integers(1, 12)), seed=SEEDS)
def test_the_cosine_transform_diagonalises_differences(size, seed):
    scene = _random(seed, *size)
    (left, rows), (right, columns) = (cosine_transform(side, scene) for side in size)
    spectrum = left @ scene @ right.mT * (rows[:, None] + columns)
    expected = FiniteDifference(size).normal(scene)
    torch.testing.assert_close(left.mT @ spectrum @ right, expected)
    torch.testing.assert_close(left @ left.mT, torch.eye(size[0], dtype=torch.float64))


@given(seed=SEEDS, unit=st.floats(1e-3, 1e3))
def test_units_of_the_camera_do_not_matter_to_the_weight_that_noise_decides(seed, unit):
    operator = _camera(seed, (6, 5))
    scaled = SeparableOperator(unit * operator.phi_left, operator.phi_right)
    capture = operator.forward(_random(seed + 2, 6, 5).abs())
    noise = torch.tensor(0.1, dtype=torch.float64)
    scene, again = (
        admm_tv(
            camera,
            factor * capture,
            weight=noise_weight(SeparableFactors.of(camera), factor * noise),
            iterations=30,
        ).scene
        for camera, factor in ((operator, 1.0), (scaled, unit))
    )
    torch.testing.assert_close(scene, again)


def test_the_weight_that_noise_decides_is_near_the_best():
    operator = _camera(1, (48, 40), extra=10)
    truth = torch.zeros(48, 40, dtype=torch.float64)
    truth[10:30, 8:20], truth[25:40, 15:35] = 1.0, 0.5
    noise = torch.tensor(2.0, dtype=torch.float64)
    capture = operator.forward(truth)
    capture = capture + noise * _random(3, *operator.capture_shape)
    chosen = noise_weight(SeparableFactors.of(operator), noise)
    errors = [
        float((admm_tv(operator, capture, weight=factor * chosen).scene - truth).norm())
        for factor in (0.1, 0.3, 1.0, 3.0, 10.0)
    ]
    assert errors[2] < 1.15 * min(errors)
    assert errors[2] < 0.5 * max(errors)
