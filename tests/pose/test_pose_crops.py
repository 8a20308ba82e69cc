"""Crops and resizing: the reference's centres, scales and pixels, and laws."""

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from barelens.imaging.shapes import ShapeError
from barelens.pose.crops import Frames, boxes_to_frames, crop_people
from barelens.pose.preparation import (
    Preparation,
    normalise_pixels,
    reference_preparation,
)
from barelens.pose.resize import area_weights, pad_to_size, remove_margins, resize_image

SIZE = (128, 96)


@functools.cache
def codec():
    return dict(np.load(Path(__file__).parent / "fixtures" / "v1_codec.npz"))


def picture():
    return torch.from_numpy(codec()["image"]).movedim(-1, 0)


def kind(name):
    """Frames and settings of one of the three ways to crop."""
    aspect = 333 / 211 if name == "lite" else 3 / 4
    frames = boxes_to_frames(torch.from_numpy(codec()["boxes"]), aspect)
    interpolation = "linear-or-cubic" if name == "v2" else "linear"
    return frames, {"interpolation": interpolation, "via_image_size": name == "lite"}


@pytest.mark.parametrize("name", ["lite", "full"])
def test_centres_and_scales_equal_the_reference(name):
    frames, _ = kind(name)
    for mine, wanted in ((frames.centers, "centers"), (frames.scales, "scales")):
        reference = torch.from_numpy(codec()[f"{name}_{wanted}"])
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("name", "differing"), [("full", 0.001), ("v2", 0.001), ("lite", 0.15)])
def test_crops_equal_the_reference_to_one_level(name, differing):
    # cv2 resizes (the second step of lite) with 11-bit weights, whence more ties broken otherwise.
    frames, settings = kind(name)
    crops = crop_people(picture(), frames, SIZE, **settings)
    wanted = torch.from_numpy(codec()[f"{name}_crops"]).movedim(-1, 1)
    assert crops.dtype == torch.uint8
    difference = (crops.int() - wanted.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).double().mean() < differing


@given(
    st.integers(2, 40),
    st.integers(2, 40),
    st.floats(-20, 60),
    st.floats(-20, 60),
    st.floats(0.5, 80),
    st.floats(0.5, 80),
)
def test_crops_equal_scipy(height, width, left, top, box_width, box_height):
    generator = torch.Generator().manual_seed(height * 41 + width)
    image = torch.rand(height, width, generator=generator, dtype=torch.float64)
    corner = torch.tensor([left, top], dtype=torch.float64)
    scale = torch.tensor([box_width, box_height], dtype=torch.float64)
    frames = Frames((corner + scale / 2)[None], scale[None])
    crop = crop_people(image[None], frames, (9, 7))[0, 0]
    y, x = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 7), indexing="ij")
    places = [top + y * box_height, left + x * box_width]
    wanted = ndimage.map_coordinates(image.numpy(), places, order=1, mode="grid-constant")
    torch.testing.assert_close(crop, torch.from_numpy(wanted), rtol=0, atol=1e-9)


def test_a_crop_of_the_pixels_themselves_is_the_picture():
    image = picture().double()
    height, width = image.shape[1:]
    whole = Frames(
        torch.tensor([[(width - 1) / 2, (height - 1) / 2]]),
        torch.tensor([[float(width - 1), float(height - 1)]]),
    )
    for mode in ("linear", "cubic"):
        crop = crop_people(image, whole, (height, width), interpolation=mode)
        torch.testing.assert_close(crop[0], image, rtol=0, atol=1e-9)


def test_people_together_equal_people_alone():
    frames, settings = kind("v2")
    together = crop_people(picture(), frames, SIZE, **settings)
    for index in range(len(frames)):
        alone = crop_people(picture(), frames[index : index + 1], SIZE, **settings)
        assert torch.equal(alone[0], together[index])


@given(
    st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 99), st.floats(1, 99), st.floats(0.2, 4)
)
def test_frames_hold_the_padded_box_about_its_centre(left, top, width, height, aspect):
    box = torch.tensor([left, top, left + width, top + height], dtype=torch.float64)
    frames = boxes_to_frames(box, aspect, padding=1.25)
    torch.testing.assert_close(frames.centers, (box[:2] + box[2:]) / 2)
    assert frames.scales[0] / frames.scales[1] == pytest.approx(aspect)
    padded = 1.25 * (box[2:] - box[:2])
    assert (frames.scales >= padded - 1e-9).all()
    assert torch.isclose(frames.scales, padded).any()


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [5, 5, 2, 9], [0, 0, float("nan"), 9]])
def test_boxes_without_area_are_refused(box):
    with pytest.raises(ValueError, match="right beyond left"):
        boxes_to_frames(torch.tensor([box], dtype=torch.float32), 0.75)


def test_arguments_of_another_kind_are_refused():
    with pytest.raises(ShapeError, match=r"\(\.\.\., 4\)"):
        boxes_to_frames(torch.zeros(3), 0.75)
    with pytest.raises(TypeError, match="floating-point"):
        boxes_to_frames(torch.tensor([[0, 0, 5, 5]]), 0.75)
    with pytest.raises(ShapeError, match="image"):
        crop_people(torch.zeros(1, 3, 8, 8), Frames(torch.zeros(1, 2), torch.ones(1, 2)), SIZE)


@pytest.mark.parametrize("size", [(1024, 768), (100, 80), (150, 500), (211, 333), (422, 100)])
@pytest.mark.parametrize("interpolation", ["linear", "linear-or-cubic", "area-or-cubic"])
def test_resizing_equals_opencv_to_one_level(size, interpolation):
    first, _, second = interpolation.partition("-or-")
    shrinks = size[0] < 211 or size[1] < 333
    method = first if shrinks or not second else second
    flags = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "cubic": cv2.INTER_CUBIC}[method]
    wanted = cv2.resize(codec()["image"], size[::-1], interpolation=flags)
    resized = resize_image(picture(), size, interpolation=interpolation).movedim(0, -1)
    assert (resized.int() - torch.from_numpy(wanted).int()).abs().max() <= 1


@given(st.integers(1, 30), st.integers(1, 30))
def test_area_weights_share_out_every_pixel(before, after):
    weights = area_weights(before, after)
    torch.testing.assert_close(weights.sum(1), torch.ones(after, dtype=torch.float64))
    if after <= before:
        share = torch.full((before,), after / before, dtype=torch.float64)
        torch.testing.assert_close(weights.sum(0), share)


@given(st.integers(1, 60), st.integers(1, 60))
def test_padding_keeps_proportions_and_comes_off_again(height, width):
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(height)) + 0.5
    padded, margins = pad_to_size(image, (32, 24))
    assert padded.shape == (3, 32, 24)
    inner = remove_margins(padded, margins)
    scale = min(32 / height, 24 / width)
    assert inner.shape[1:] == (max(1, int(height * scale)), max(1, int(width * scale)))
    assert (inner > 0).all()
    torch.testing.assert_close(padded.sum(), inner.sum())
    assert 0 <= margins.right - margins.left <= 1
    assert 0 <= margins.bottom - margins.top <= 1


def test_normalised_pixels_have_the_mean_taken_out():
    preparation = reference_preparation("sapiens", "pose", SIZE)
    mean = torch.tensor(preparation.mean)[:, None, None]
    assert torch.equal(normalise_pixels(mean.expand(3, 2, 2), preparation), torch.zeros(3, 2, 2))
    white = normalise_pixels(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), preparation)
    assert white[0, :, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-4)


def test_each_family_prepares_as_it_was_trained():
    full = reference_preparation("sapiens", "pose", SIZE)
    lite = reference_preparation("sapiens", "pose", SIZE, lite=True)
    assert (full.framing, full.via_image_size, lite.via_image_size) == ("person", False, True)
    assert full.mean != lite.mean
    assert reference_preparation("sapiens", "depth", SIZE).framing == "stretch"
    assert reference_preparation("sapiens2", "pose", SIZE).interpolation == "linear-or-cubic"
    assert reference_preparation("sapiens2", "segmentation", SIZE).framing == "stretch"
    assert reference_preparation("sapiens2", "normal", SIZE).framing == "pad"
    assert reference_preparation("barelens", "normal", SIZE).framing == "person"
    with pytest.raises(ValueError, match="first generation"):
        reference_preparation("sapiens2", "pose", SIZE, lite=True)
    with pytest.raises(ValueError, match="family"):
        reference_preparation("vitpose", "pose", SIZE)
    with pytest.raises(ValueError, match="box_padding"):
        Preparation(SIZE, "person", box_padding=0)
