"""People found without a detector, with a model that knows green dolls."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from barelens.pose import HumanModel, HumanVision, Preparation
from barelens.pose.boxes import box_cover
from barelens.pose.windows import WindowDetector, window_frames

SIZE = (64, 48)
COLOURS = torch.eye(3)  # of the head, the body and the feet of a doll


class Seer(nn.Module):
    """Hands its pixels on, in 0..1."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(image_size=SIZE)
        self.embed_dim = 3
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, pixels):
        known = Preparation(SIZE, "person")
        mean, deviation = (
            torch.tensor(values)[:, None, None] for values in (known.mean, known.deviation)
        )
        return (pixels * deviation + mean) / 255 * self.scale


class DollHead(nn.Module):
    """A heatmap for each colour; a doll is only known near the size of the crop."""

    def forward(self, features):
        blurred = F.avg_pool2d(features, 9, stride=1, padding=4)
        return F.interpolate(blurred, scale_factor=0.5, mode="bilinear", antialias=True)


def doll(image, x, y, height):
    """Draw three spots from head to feet, of a tenth of the height."""
    rows, columns = torch.meshgrid(
        torch.arange(image.shape[1]), torch.arange(image.shape[2]), indexing="ij"
    )
    for colour, share in zip(COLOURS, (0.08, 0.5, 0.92), strict=True):
        apart = (columns - x) ** 2 + (rows - y - share * height) ** 2
        spot = torch.exp(-apart / (2 * (height * 0.09) ** 2))
        image += colour[:, None, None] * spot
    return torch.tensor([x - height * 0.1, y, x + height * 0.1, y + height])


@pytest.fixture(scope="module")
def detector():
    return WindowDetector(HumanModel(Seer(), {"pose": DollHead()}), batch_size=16)


def test_dolls_are_found_where_they_are(detector):
    image = torch.zeros(3, 150, 260)
    truth = torch.stack([doll(image, 60.0, 20, 100.0), doll(image, 190.0, 60, 80.0)])
    found = detector([(image.clamp(0, 1) * 255).to(torch.uint8)])[0]
    centers = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    wanted = (truth[:, :2] + truth[:, 2:]) / 2
    apart = torch.cdist(wanted, centers)
    assert (apart.amin(dim=1) < 12).all()
    assert len(found.boxes) <= 3
    assert box_cover(found.boxes, found.boxes).fill_diagonal_(0).max() <= 0.6
    assert (found.scores.diff() <= 0).all()


def test_nothing_is_found_in_nothing(detector):
    found = detector([torch.zeros(3, 90, 70, dtype=torch.uint8)])[0]
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)


def test_it_serves_as_the_detector_of_the_one_call(detector):
    image = torch.zeros(3, 150, 260)
    doll(image, 60.0, 20, 100.0)
    model = HumanModel(Seer(), {"pose": DollHead()})
    output = HumanVision([model], detector=detector, flip_test=False)(image.clamp(0, 1))
    best = output.people[0]
    wanted = torch.tensor([[60.0, 28], [60, 70], [60, 112]])
    assert 0 < best.box_score < 1
    assert (best.keypoints - wanted).abs().max() < 6


@pytest.mark.parametrize("size", [(100, 100), (300, 80), (61, 333)])
def test_windows_cover_the_picture_and_stay_on_it(size):
    frames = window_frames(size, 0.75, 0.3, 0.25)
    largest = max(size[0], size[1] / 0.75)
    heights = frames.scales[:, 1]
    torch.testing.assert_close(frames.scales[:, 0], heights * 0.75)
    assert float(heights.max()) == pytest.approx(largest)
    assert float(heights.min()) >= 0.3 * largest * 0.99
    for height in heights.unique():
        part = frames[heights == height]
        low, high = part.corners, part.corners + part.scales
        for axis, length in ((0, size[1]), (1, size[0])):
            extent = float(part.scales[0, axis])
            assert low[:, axis].min() <= 1e-3
            assert high[:, axis].max() >= length - 1e-3
            if extent <= length:
                assert low[:, axis].min() >= -1e-3
                assert high[:, axis].max() <= length + 1e-3


def test_a_model_without_pose_is_refused():
    with pytest.raises(ValueError, match="no head for 'pose'"):
        WindowDetector(HumanModel(Seer(), {"depth": DollHead()}))
    with pytest.raises(ValueError, match="min_share"):
        WindowDetector(HumanModel(Seer(), {"pose": DollHead()}), min_share=0)
