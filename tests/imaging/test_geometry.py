"""Laws of transfer matrices: geometry, additivity, limits."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from barelens.imaging import SeparableGeometry, m_sequence, random_profile, transfer_matrices
from barelens.imaging.geometry import transfer_matrix

GEOMETRY = SeparableGeometry(40, 51, 16, 15, feature_um=40.0, field_of_view_deg=8.0)
PROFILE = m_sequence(5)


def _coded(geometry, profile=PROFILE, sensor=41, scene=16, oversampling=1):
    return transfer_matrix(geometry, profile, sensor, scene, oversampling).coded


def test_shapes_are_those_of_the_operator():
    left, right = transfer_matrices(GEOMETRY, PROFILE, PROFILE, oversampling=3)
    assert left.coded.shape == left.open.shape == (40, 48)
    assert right.coded.shape == right.open.shape == (51, 45)


@pytest.mark.parametrize("wavelength_nm", [None, 550.0])
@pytest.mark.parametrize("factor", [2, 3, 5])
def test_a_finer_scene_adds_up_to_the_coarse_one(wavelength_nm, factor):
    geometry = dataclasses.replace(GEOMETRY, wavelength_nm=wavelength_nm)
    fine = _coded(geometry, oversampling=factor)
    summed = fine.reshape(41, 16, factor).sum(-1)
    torch.testing.assert_close(summed, _coded(geometry), rtol=1e-9, atol=1e-12)


@given(
    seed=st.integers(0, 2**31),
    feature_um=st.floats(3, 80),
    fill_factor=st.floats(0.05, 1),
    field_of_view_deg=st.floats(1, 60),
)
def test_integral_over_pixels_and_scene_equals_a_fine_sum(
    seed, feature_um, fill_factor, field_of_view_deg
):
    geometry = dataclasses.replace(
        GEOMETRY,
        feature_um=feature_um,
        fill_factor=fill_factor,
        field_of_view_deg=field_of_view_deg,
    )
    profile = random_profile(9, seed=seed)
    if profile.unique().numel() == 1:
        profile[0] = -profile[0]
    exact = _coded(geometry, profile, sensor=3, scene=2)
    samples = (torch.arange(400, dtype=torch.float64) + 0.5) / 400 - 0.5
    pitch, step = geometry.sample_pitch_um, geometry.scene_step_um
    for pixel in range(3):
        for sample in range(2):
            x = (pixel - 1) * pitch + samples[:, None] * pitch * fill_factor
            position = x - (sample - 0.5) * step - samples * step
            feature = torch.floor(position / feature_um + 4.5).long()
            value = torch.where(
                (feature >= 0) & (feature < 9), profile.double()[feature.clamp(0, 8)], 0.0
            )
            assert float(exact[pixel, sample]) == pytest.approx(float(value.mean()) / 2, abs=4e-3)


def test_the_shadow_moves_by_the_slope():
    # A scene step of exactly two sensor samples: each column is the last one, two rows on.
    spread = 2 * 10.6 * 16 / (1000 * GEOMETRY.mask_distance_mm)
    geometry = dataclasses.replace(
        GEOMETRY, field_of_view_deg=math.degrees(2 * math.atan(spread / 2))
    )
    assert geometry.slope == pytest.approx(2)
    matrix = _coded(geometry)
    torch.testing.assert_close(matrix[2:, 1:], matrix[:-2, :-1], rtol=1e-9, atol=1e-12)


def test_light_is_conserved():
    wide = _coded(dataclasses.replace(GEOMETRY, feature_um=1000.0), torch.tensor([1.0, -1.0]))
    transfer = transfer_matrix(
        dataclasses.replace(GEOMETRY, feature_um=1000.0), torch.tensor([1.0, -1.0]), 41, 16
    )
    torch.testing.assert_close(transfer.open.sum(-1), torch.ones(41, dtype=torch.float64))
    assert (transfer.coded.abs() <= transfer.open + 1e-12).all()
    assert wide[0, 0] * wide[-1, -1] < 0  # both halves of the mask are seen


def test_beyond_its_features_a_mask_is_opaque():
    small = transfer_matrix(
        dataclasses.replace(GEOMETRY, feature_um=1.0), torch.tensor([1.0, -1.0]), 41, 16
    )
    assert not small.open[0].any()
    assert not small.coded[-1].any()


def test_a_near_scene_enlarges_the_shadow():
    near = dataclasses.replace(GEOMETRY, scene_distance_mm=GEOMETRY.mask_distance_mm)
    larger = dataclasses.replace(GEOMETRY, feature_um=2 * GEOMETRY.feature_um)
    assert near.magnification == 2
    torch.testing.assert_close(_coded(near), _coded(larger))


def test_diffraction_blurs_and_vanishes_with_the_wavelength():
    sharp = _coded(GEOMETRY)
    blurred = _coded(dataclasses.replace(GEOMETRY, wavelength_nm=550.0))
    faint = _coded(dataclasses.replace(GEOMETRY, wavelength_nm=1e-6))
    assert (blurred - sharp).norm() > 0.02 * sharp.norm()
    assert torch.diff(blurred, dim=0).norm() < torch.diff(sharp, dim=0).norm()
    torch.testing.assert_close(faint, sharp, rtol=1e-3, atol=1e-6)


def test_diffraction_equals_a_numerical_gaussian_blur():
    geometry = dataclasses.replace(GEOMETRY, wavelength_nm=550.0)
    sigma = geometry.diffraction_blur_um
    nodes = torch.linspace(-6, 6, 2401, dtype=torch.float64)
    weights = torch.exp(-nodes.square() / 2)
    weights /= weights.sum()
    # A shift of the whole shadow is a shift of the pixel: average over shifted sensors.
    fine = dataclasses.replace(GEOMETRY, sample_pitch_um=sigma / 200, fill_factor=1e-3)
    shifted = _coded(fine, sensor=2401, scene=1)[:, 0]
    exact = _coded(dataclasses.replace(fine, wavelength_nm=550.0), sensor=2401, scene=1)[1200, 0]
    assert float((weights * shifted).sum()) == pytest.approx(float(exact), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_um": 0.0}, "feature_um must be positive, got 0.0"),
        ({"sensor_height": -1}, "sensor_height must be positive"),
        ({"fill_factor": 1.5}, r"fill_factor must be in \(0, 1\], got 1.5"),
        ({"field_of_view_deg": 180.0}, "field_of_view_deg must be between 0 and 180"),
        ({"wavelength_nm": -1.0}, "wavelength_nm must be positive or None"),
    ],
)
def test_bad_dimensions_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(GEOMETRY, **change)


def test_bad_oversampling_is_named():
    with pytest.raises(ValueError, match="oversampling must be at least 1"):
        transfer_matrices(GEOMETRY, PROFILE, PROFILE, oversampling=0)
