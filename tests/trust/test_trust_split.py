"""What was measured and what was invented sum to the picture, and noise moves the border."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barelens.imaging import ConvolutionOperator, ShapeError
from barelens.imaging.prediction import measured_share
from barelens.imaging.trust import (
    audit_prompt,
    factorise,
    filter_scene,
    keep_measured,
    mean_share,
    overall_share,
    split_picture,
    support_measured,
)
from barelens.imaging.trust.windows import window_mean


def _random(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def diffuser():
    return factorise(ConvolutionOperator(_random((15, 18), 3).abs()))


@pytest.fixture(params=["separable", "colour", "convolution"])
def camera(request, factors, colour_operator, diffuser):
    return {
        "separable": factors,
        "colour": factorise(colour_operator),
        "convolution": diffuser,
    }[request.param]


@given(noise=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_parts_sum_to_the_whole(factors, noise, seed):
    picture = _random((3, *factors.scene_shape), seed)
    split = split_picture(picture, factors, noise, 0.5)
    torch.testing.assert_close(split.measured + split.invented, picture)
    assert ((split.fraction() >= 0) & (split.fraction() <= 1)).all()


def test_measured_share_falls_with_noise(camera):
    picture = _random(camera.scene_shape, 0)
    fractions = [
        split_picture(picture, camera, noise, 0.5).fraction() for noise in (1e-6, 0.1, 1, 10, 1e6)
    ]
    for quiet, loud in pairwise(fractions):
        assert (quiet > loud).all()
    assert (fractions[-1] < 1e-6).all()


def test_without_noise_what_the_camera_sees_is_measured(operator, factors, scene):
    split = split_picture(scene, factors, 1e-9, 1.0)
    torch.testing.assert_close(operator.forward(split.measured), operator.forward(scene))


def test_batch_equals_loop(camera):
    pictures = _random((3, *camera.scene_shape), 1)
    split = split_picture(pictures, camera, 0.3, 0.5)
    for picture, measured in zip(pictures, split.measured, strict=True):
        torch.testing.assert_close(split_picture(picture, camera, 0.3, 0.5).measured, measured)


def test_fraction_is_the_energy_in_the_spectrum(factors):
    picture = _random(factors.scene_shape, 2)
    energy = factors.decompose(picture).square()
    share = measured_share(factors.gains, 0.7, 0.5)
    expected = (share * energy).sum() / picture.square().sum()
    torch.testing.assert_close(split_picture(picture, factors, 0.7, 0.5).fraction(), expected)


def test_mean_share_is_the_diagonal_of_the_filter(camera):
    share = measured_share(camera.gains, 0.3, 0.5)
    height, width = camera.scene_shape[-2:]
    for row, column in ((0, 0), (height // 2, width // 3)):
        point = torch.zeros(camera.scene_shape, dtype=torch.float64)
        point[..., row, column] = 1
        own = filter_scene(camera, point, share)[..., row, column]
        found = mean_share(camera, share).expand(camera.scene_shape)[..., row, column]
        torch.testing.assert_close(found, own)


def test_overall_share_is_the_mean_of_its_map(camera):
    share = measured_share(camera.gains, 0.3, 0.5)
    expected = mean_share(camera, share).mean((-2, -1))
    torch.testing.assert_close(overall_share(camera, share), expected)


def test_parts_can_be_told_from_known_coefficients(camera):
    picture = _random(camera.scene_shape, 3)
    known = split_picture(picture, camera, 0.3, 0.5, spectrum=camera.decompose(picture))
    expected = split_picture(picture, camera, 0.3, 0.5)
    torch.testing.assert_close(known.measured, expected.measured)


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    half=st.integers(0, 7),
    seed=st.integers(0, 99),
)
def test_window_mean_is_that_of_the_samples_inside(size, half, seed):
    values = _random((2, *size), seed)
    found = window_mean(values, 2 * half + 1)
    for row in range(size[0]):
        for column in range(size[1]):
            rows = slice(max(row - half, 0), row + half + 1)
            columns = slice(max(column - half, 0), column + half + 1)
            torch.testing.assert_close(
                found[:, row, column], values[:, rows, columns].mean((-2, -1))
            )


def test_share_maps_know_invented_detail_on_a_bright_background(factors):
    share = measured_share(factors.gains, 0.3, 0.5)
    noise = _random(factors.scene_shape, 5)
    background = filter_scene(factors, torch.ones_like(noise), (share > 0.9).double())
    detail = torch.zeros_like(noise)
    detail[8:20, 8:20] = 0.1 * filter_scene(factors, noise, (share < 0.1).double())[8:20, 8:20]
    split = split_picture(background + detail, factors, 0.3, 0.5)
    light, contrast = split.share_map(5), split.share_map(5, of="contrast")
    assert light[14, 14] > 0.9 > 0.6 > contrast[14, 14]
    for shares in (light, contrast):
        known = shares[~shares.isnan()]
        assert ((known >= 0) & (known <= 1)).all()


def test_nothing_is_neither_measured_nor_invented(factors):
    split = split_picture(torch.zeros(factors.scene_shape, dtype=torch.float64), factors, 1, 1)
    assert split.share_map().isnan().all()
    picture = _random(factors.scene_shape, 5)
    assert split_picture(picture, factors, 1, 1).share_map(floor=1e3).isnan().all()


def test_keeping_what_was_measured(factors, scene):
    edited = scene + 0.3 * _random(factors.scene_shape, 7)
    kept = keep_measured(edited, scene, factors, 1e-9, 1.0)
    wanted = split_picture(scene, factors, 1e-9, 1.0).measured
    torch.testing.assert_close(split_picture(kept, factors, 1e-9, 1.0).measured, wanted)
    torch.testing.assert_close(keep_measured(scene, scene, factors, 0.3, 1.0), scene)
    # The noisier the capture, the more of the edit stays.
    distances = [
        (keep_measured(edited, scene, factors, noise, 1.0) - edited).norm()
        for noise in (1e-6, 1, 1e6)
    ]
    assert distances[0] > distances[1] > distances[2]


def test_prompt_audit_tells_a_harmless_prompt_from_a_contradiction(factors, scene):
    share = measured_share(factors.gains, 0.3, 0.5)
    noise = _random(factors.scene_shape, 8)
    unseen = filter_scene(factors, noise, (share < 0.05).double())
    seen = filter_scene(factors, noise, (share > 0.95).double())
    audit = audit_prompt(scene, scene + 0.1 * unseen, scene + 0.1 * seen, factors, 0.3, 0.5)
    assert audit.prompt.fraction() < 0.05
    assert audit.wrong_prompt.fraction() > 0.95
    expected = 0.1 * unseen.square().mean().sqrt() / scene.square().mean().sqrt()
    torch.testing.assert_close(audit.prompt_change, expected)


@given(
    x=st.floats(-5, 45),
    y=st.floats(-5, 35),
    radius=st.floats(0.4, 9),
)
@settings(max_examples=30, deadline=None)
def test_support_is_the_mean_over_a_disc(x, y, radius):
    shares = torch.rand(31, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares[10:14] = torch.nan
    rows = torch.arange(31, dtype=torch.float64)[:, None] - y
    columns = torch.arange(40, dtype=torch.float64) - x
    inside = torch.hypot(rows, columns.expand(31, -1)) <= radius
    expected = shares[inside & ~shares.isnan()].mean()
    found = support_measured(shares, torch.tensor([[x, y]], dtype=torch.float64), radius)
    torch.testing.assert_close(found[0], expected, equal_nan=True)


def test_support_of_people_in_batches():
    maps = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(1))
    points = 20 * torch.rand(2, 3, 17, 2, generator=torch.Generator().manual_seed(2))
    points[0, 0, 0] = torch.nan
    found = support_measured(maps, points, 4.0)
    assert found.shape == (2, 3, 17)
    assert found[0, 0, 0].isnan()
    torch.testing.assert_close(found[1, 2], support_measured(maps[1, 2], points[1, 2], 4.0))


def test_wrong_arguments_are_named(factors, scene):
    with pytest.raises(ShapeError, match="picture must have shape"):
        split_picture(scene[1:], factors, 1, 1)
    with pytest.raises(ValueError, match="noise_std must be positive"):
        split_picture(scene, factors, 0.0, 1)
    with pytest.raises(ValueError, match="window must be odd"):
        split_picture(scene, factors, 1, 1).share_map(4)
    with pytest.raises(ValueError, match="of must be"):
        split_picture(scene, factors, 1, 1).share_map(of="colour")
    with pytest.raises(ShapeError, match="shape of its reference"):
        keep_measured(scene, scene[1:], factors, 1, 1)
    with pytest.raises(ValueError, match="radius must be positive"):
        support_measured(scene, torch.zeros(1, 2), 0)
    with pytest.raises(ShapeError, match="keypoints must have shape"):
        support_measured(scene, torch.zeros(1, 3), 1)
    with pytest.raises(TypeError, match="SeparableOperator or a ConvolutionOperator"):
        factorise(2.0 * ConvolutionOperator(scene))
