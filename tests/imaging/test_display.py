import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barelens.imaging.display import colour_map, side_by_side, to_display
from barelens.imaging.files import linear_to_srgb
from barelens.imaging.shapes import ShapeError

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**31)


def scene(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


@given(seeds, st.floats(0.5, 20), st.floats(-3, 3))
def test_the_picture_is_srgb_between_the_given_black_and_white(seed, span, black):
    light = black + span * scene(seed, 3, 5, 7)
    picture, settings_used = to_display(light, white=black + span, black=black)
    wanted = (linear_to_srgb((light - black) / span) * 255).movedim(0, -1)
    assert picture.shape == (5, 7, 3) and picture.dtype == torch.uint8
    assert (picture.double() - wanted).abs().max() <= 0.5 + 1e-9
    assert settings_used.white == pytest.approx(black + span)
    assert settings_used.clipped_below == 0


@given(seeds, st.floats(1e-3, 1e3))
def test_the_percentile_makes_the_picture_independent_of_exposure(seed, exposure):
    light = scene(seed, 3, 6, 7)
    picture, one = to_display(light)
    again, other = to_display(exposure * light)
    assert (picture.int() - again.int()).abs().max() <= 1
    torch.testing.assert_close(other.white, exposure * one.white)


@given(seeds, st.floats(1, 100))
def test_white_is_the_nearest_rank_percentile_over_all_channels(seed, percentile):
    light = scene(seed, 3, 6, 7)
    _, used = to_display(light, percentile=percentile)
    wanted = np.percentile(light.numpy(), percentile, method="inverted_cdf")
    assert float(used.white) == wanted
    brighter = (light > wanted).double().mean()
    torch.testing.assert_close(used.clipped_above, brighter)


@few
@given(seeds, st.lists(st.integers(1, 3), min_size=1, max_size=2), st.sampled_from([1, 3]))
def test_a_batch_equals_a_loop(seed, batch, channels):
    light = scene(seed, *batch, channels, 5, 6) - 0.1
    light = light * torch.arange(1, batch[0] + 1).view(-1, *[1] * (light.ndim - 1))
    for balance in (None, "grey-world"):
        pictures, used = to_display(light, white_balance=balance)
        assert pictures.shape == (*batch, 5, 6, 3)
        for index in np.ndindex(*batch):
            picture, alone = to_display(light[index], white_balance=balance)
            assert torch.equal(pictures[index], picture)
            for name in ("white", "channel_gains", "clipped_below", "clipped_above"):
                assert torch.equal(getattr(used, name)[index], getattr(alone, name))


@given(seeds)
def test_the_settings_are_enough_to_make_the_picture_again(seed):
    light = scene(seed, 3, 6, 7) - 0.2
    picture, used = to_display(light, black=0.1, percentile=90, white_balance=None)
    again, _ = to_display(light, black=used.black, white=float(used.white))
    assert torch.equal(picture, again)
    record = json.loads(json.dumps(used.record()))
    assert record["white"] == float(used.white)
    assert record["clipped_below"] == float((light < 0.1).double().mean())


@given(seeds, st.tuples(*[st.floats(0.2, 5)] * 3))
def test_grey_world_takes_a_colour_cast_away(seed, cast):
    light = scene(seed, 3, 6, 7) + 0.1
    light = light / light.mean((-2, -1), keepdim=True)
    tinted = light * torch.tensor(cast, dtype=torch.float64)[:, None, None]
    picture, _ = to_display(light)
    balanced, used = to_display(tinted, white_balance="grey-world")
    assert (picture.int() - balanced.int()).abs().max() <= 1
    means = (tinted * used.channel_gains[:, None, None]).mean((-2, -1))
    torch.testing.assert_close(means, means[:1].expand(3))


def test_without_white_balance_colours_keep_their_proportions():
    light = torch.tensor([0.2, 0.4, 0.8]).view(3, 1, 1)
    picture, used = to_display(light, percentile=100)
    wanted = (linear_to_srgb(torch.tensor([0.25, 0.5, 1.0])) * 255).round().byte()
    assert torch.equal(picture[0, 0], wanted)
    assert (used.channel_gains == 1).all()


def test_dark_images_are_dark_and_sparse_ones_seen():
    dark, used = to_display(torch.zeros(3, 8, 9) - 1)
    assert (dark == 0).all() and used.white == 1 and used.clipped_below == 1
    spot = torch.zeros(1, 40, 40)
    spot[0, 3, 4] = 5.0
    picture, used = to_display(spot)
    assert used.white == 5 and (picture[3, 4] == 255).all() and picture.sum() == 3 * 255


def test_display_refuses_what_it_cannot_show():
    light = torch.ones(3, 4, 5)
    with pytest.raises(ShapeError, match="3 or 1"):
        to_display(torch.ones(4, 5))
    with pytest.raises(TypeError, match="linear_rgb"):
        to_display(light.byte())
    with pytest.raises(ValueError, match="finite"):
        to_display(light * float("inf"))
    with pytest.raises(ValueError, match=r"white must be above black=1\.0, got 0\.5"):
        to_display(light, white=0.5, black=1.0)
    with pytest.raises(ValueError, match="percentile"):
        to_display(light, percentile=0)
    with pytest.raises(ValueError, match="mean above black"):
        to_display(-light, white_balance="grey-world")
    with pytest.raises(ValueError, match="white_balance must be"):
        to_display(light, white_balance="auto")


@few
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 40)), min_size=1, max_size=5),
    st.one_of(st.none(), st.integers(1, 4)),
    st.integers(0, 9),
)
def test_side_by_side_keeps_every_pixel_of_every_picture(sizes, columns, gap):
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 255, (*size, 3), dtype=torch.uint8, generator=generator) for size in sizes
    ]
    labels = [f"picture {index}" for index in range(len(images))]
    montage = side_by_side(images, labels, columns=columns, gap=gap, font_size=10)
    rows = -(-len(images) // (columns or len(images)))
    down = (montage.shape[0] - gap) // rows
    right = (montage.shape[1] - gap) // (columns or len(images))
    for index, image in enumerate(images):
        row, column = divmod(index, columns or len(images))
        top, left = gap + row * down, gap + column * right
        cell = montage[top + 15 : top + 15 + image.shape[0], left : left + image.shape[1]]
        assert torch.equal(cell, image)
        label = montage[top : top + 15, left : left + right]
        assert (label < 100).any(), "the label is drawn"


def test_side_by_side_refuses_odd_arguments():
    image = torch.zeros(4, 5, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="one label each, got 2 and 1"):
        side_by_side([image, image], ["one"])
    with pytest.raises(ValueError, match="got 0 and 0"):
        side_by_side([], [])
    with pytest.raises(ShapeError, match=r"\(3, 4, 5\)"):
        side_by_side([image.movedim(-1, 0)], [""])
    with pytest.raises(TypeError, match="uint8"):
        side_by_side([image.float()], [""])
    with pytest.raises(ValueError, match="positive"):
        side_by_side([image], [""], columns=0)


@pytest.mark.parametrize("palette", ["viridis", "inferno", "magma", "cividis", "twilight"])
def test_colour_map_is_opencvs_in_rgb(palette):
    values = torch.linspace(-2, 3, 256, dtype=torch.float64).view(2, 8, 16)
    picture = colour_map(values, low=-2, high=3, palette=palette)
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    bgr = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{palette.upper()}"))
    assert np.array_equal(picture.reshape(16, 16, 3).numpy(), bgr[..., ::-1])


@given(seeds)
def test_viridis_brightens_with_the_value(seed):
    values = scene(seed, 1, 20).sort(dim=-1).values
    picture = colour_map(values, low=0.0, high=1.0).double()
    luma = picture @ torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64)
    assert (luma.diff(dim=-1) >= -1).all()


def test_colour_map_shows_what_lies_outside_as_the_ends_and_nan_as_grey():
    inf, nan = float("inf"), float("nan")
    picture = colour_map(torch.tensor([[-9.0, 0.0, 1.0, 9.0, inf, -inf, nan]]), low=0, high=1)[0]
    assert torch.equal(picture[0], picture[1]) and torch.equal(picture[5], picture[1])
    assert torch.equal(picture[3], picture[2]) and torch.equal(picture[4], picture[2])
    assert picture[6].tolist() == [128, 128, 128]


def test_colour_map_refuses_odd_arguments():
    values = torch.zeros(4, 5)
    with pytest.raises(TypeError, match=r"low|high"):
        colour_map(values)
    with pytest.raises(ValueError, match="high must be above low=1"):
        colour_map(values, low=1, high=1)
    with pytest.raises(ValueError, match="unknown palette 'jet'; choose one of: viridis"):
        colour_map(values, low=0, high=1, palette="jet")
    with pytest.raises(TypeError, match="values"):
        colour_map(values.int(), low=0, high=1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_what_the_cpu_gives():
    light = scene(0, 2, 3, 40, 50)
    picture, used = to_display(light.cuda(), white_balance="grey-world")
    wanted, settings_used = to_display(light, white_balance="grey-world")
    assert picture.is_cuda
    assert (picture.cpu().int() - wanted.int()).abs().max() <= 1
    torch.testing.assert_close(used.white.cpu(), settings_used.white)
    colours = colour_map(light.cuda(), low=0.0, high=1.0).cpu().int()
    assert (colours - colour_map(light, low=0.0, high=1.0).int()).abs().max() <= 8
    montage = side_by_side(list(picture), ["first", "second"])
    assert montage.shape[-1] == 3
