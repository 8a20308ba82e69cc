"""What people see: grey for measured, vermillion for invented, blue for nothing."""

import pytest
import torch

from barelens.imaging import ShapeError
from barelens.imaging.trust import draw_scale, overlay_invented


@pytest.fixture
def picture():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (60, 200, 3), generator=generator).to(torch.uint8)


def test_measured_pixels_stay_grey(picture):
    painted = overlay_invented(picture, torch.ones(60, 200), legend=False)
    assert painted.shape == picture.shape
    assert (painted[..., 0] == painted[..., 1]).all()
    assert (painted[..., 0] == painted[..., 2]).all()
    grey = picture.float() @ torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(painted[..., 0].float(), grey, atol=0.51, rtol=0)


def test_invented_pixels_turn_red_and_unknown_ones_blue(picture):
    redness, blueness = [], []
    for share in (1.0, 0.5, 0.0):
        painted = overlay_invented(picture, torch.full((60, 200), share), legend=False).float()
        redness.append(float((painted[..., 0] - painted[..., 2]).mean()))
    assert redness == sorted(redness)
    assert redness[-1] > 50
    unknown = overlay_invented(picture, torch.full((60, 200), torch.nan), legend=False).float()
    blueness = float((unknown[..., 2] - unknown[..., 0]).mean())
    assert blueness > 50


def test_legend_stands_below(picture):
    share = torch.ones(60, 200)
    plain, noted = overlay_invented(picture, share), None
    share[5, 5] = torch.nan
    noted = overlay_invented(picture, share)
    assert 60 < plain.shape[0] < noted.shape[0]
    assert plain.shape[1] == 200


@pytest.mark.parametrize("width", [20, 100, 900])
def test_scales_have_the_width_of_their_picture(width):
    bar = torch.zeros(4, 64, 3, dtype=torch.uint8)
    scale = draw_scale(bar, "nothing", "everything", width)
    assert scale.shape[1:] == (width, 3)
    assert scale.dtype == torch.uint8


def test_pictures_and_maps_must_fit(picture):
    with pytest.raises(ShapeError, match="picture must have shape"):
        overlay_invented(picture, torch.ones(60, 199))
    with pytest.raises(TypeError, match="picture must be uint8"):
        overlay_invented(picture.float(), torch.ones(60, 200))
