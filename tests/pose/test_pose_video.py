"""Videos frame by frame."""

import itertools

import pytest
import torch

from barelens.imaging.files import FileError
from barelens.imaging.shapes import ShapeError
from barelens.pose import Detections, HumanVision, MultiTaskConfig, MultiTaskModel
from barelens.pose.smoothing import KeypointSmoother
from barelens.pose.video import Frame, follow_people, read_frames, read_video_info, write_video


def square(place, size=(64, 96)):
    """A grey picture (height, width, 3) with a red square."""
    picture = torch.full((*size, 3), 60, dtype=torch.uint8)
    picture[20:36, place : place + 16] = torch.tensor([220, 30, 30], dtype=torch.uint8)
    return picture


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with write_video(path, frames_per_s=10) as write:
        for n in range(20):
            write(square(4 + 3 * n))
    return path


def test_frames_come_back_in_order_and_in_rgb(clip):
    info = read_video_info(clip)
    assert (info.size, info.frames_per_s, info.num_frames) == ((64, 96), 10, 20)
    frames = list(read_frames(clip))
    assert [frame.index for frame in frames] == list(range(20))
    assert frames[7].time_s == pytest.approx(0.7)
    for n, frame in enumerate(frames):
        wanted = square(4 + 3 * n).movedim(-1, 0).float()
        assert frame.image.shape == (3, 64, 96)
        assert (frame.image.float() - wanted).abs().mean() < 8
        assert frame.image[0, 24:32, 8 + 3 * n : 16 + 3 * n].float().mean() > 180
    assert [frame.index for frame in read_frames(clip, step=6)] == [0, 6, 12, 18]


def test_reading_is_lazy(clip):
    frames = read_frames(clip)
    assert [frame.index for frame in itertools.islice(frames, 2)] == [0, 1]
    frames.close()


def test_what_is_no_video_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no video at"):
        next(read_frames(tmp_path / "nothing.mp4"))
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(FileError, match=r"text\.mp4"):
        next(read_frames(tmp_path / "text.mp4"))
    with (
        pytest.raises(ValueError, match="at least one"),
        write_video(tmp_path / "empty.mp4", frames_per_s=10),
    ):
        pass
    with (
        pytest.raises(ShapeError, match="must all have shape"),
        write_video(tmp_path / "changing.mp4", frames_per_s=10) as write,
    ):
        write(square(4))
        write(square(4, (64, 80)))
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]


class Redness:
    """Finds what is red."""

    def __init__(self):
        self.calls = []

    def __call__(self, images):
        self.calls.append(len(images))
        return [self.find(image.int()) for image in images]

    def find(self, image):
        rows, columns = torch.nonzero(image[0] - image[1] > 80, as_tuple=True)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return Detections(torch.tensor([box]).float(), torch.ones(1))


def test_people_are_followed_in_batches(clip):
    config = MultiTaskConfig(
        ("nose", "left_eye", "right_eye"), ("Background", "Hair"), image_size=(64, 48),
        embed_dim=16, depth=1, num_heads=2, feedforward_dim=16, pose_channels=(8,),
        parts_channels=(8,), depth_channels=(8,), normals_channels=(8,), head_channels=8,
    )  # fmt: skip
    model, finder = MultiTaskModel(config).eval(), Redness()
    vision = HumanVision([model], detector=finder)
    taken = []

    def source():
        for frame in read_frames(clip):
            taken.append(frame.index)
            yield frame

    people = follow_people(vision, source(), smoother=KeypointSmoother(), batch_size=3)
    first = next(people)
    assert isinstance(first[0], Frame)
    assert taken == [0, 1, 2]
    outputs = [first, *people]
    assert finder.calls == [3] * 6 + [2]
    assert [frame.index for frame, _ in outputs] == list(range(20))
    assert {person.track for _, output in outputs for person in output.people} == {0}
    assert all(torch.isfinite(output.people[0].keypoints).all() for _, output in outputs)
