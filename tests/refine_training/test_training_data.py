"""Pictures, renders, cameras and pairs to train on."""

import json

import numpy as np
import pytest
import torch

from barelens.imaging import SeparableOperator
from barelens.imaging.files import FileError, write_png
from barelens.imaging.metrics import psnr
from barelens.imaging.refine.training import (
    BatchMaker,
    CachedPairs,
    CapturePairs,
    ModelSettings,
    Observation,
    OperatorCamera,
    Pair,
    PictureFolder,
    SelectedPairs,
    SimulatedPairs,
    TrainingSettings,
    difuzcam_entries,
    draw_camera,
    find_pictures,
    folder_entries,
    observe,
    render_scene,
)
from barelens.imaging.solvers import SeparableFactors


@pytest.fixture
def pictures(tmp_path):
    for number in range(2):
        levels = np.random.default_rng(number).integers(0, 256, (40, 50, 3))
        write_png(tmp_path / f"{number}.png", torch.from_numpy(levels).to(torch.uint8))
    return tmp_path


def small_camera(seed=0, sensor=40, scene=16):
    rng = torch.Generator().manual_seed(seed)
    left, right = (torch.randn(sensor, scene, generator=rng) for _ in range(2))
    return SeparableOperator(left, right).centred()


def test_render_is_decided_by_its_seed():
    first, again, other = (render_scene(48, seed=seed) for seed in (3, 3, 4))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert first.shape == (3, 48, 48) and 0 <= first.min() and first.max() <= 1
    assert not torch.equal(first, other)


def test_renders_have_neighbours_more_alike_than_strangers():
    scenes = torch.stack([render_scene(64, seed=seed) for seed in range(8)])
    beside = (scenes[..., 1:] - scenes[..., :-1]).square().mean()
    apart = (scenes[..., 32:] - scenes[..., :-32]).square().mean()
    assert beside < apart / 3


def test_cut_is_decided_by_its_seed(pictures):
    folder = PictureFolder(find_pictures([pictures]))
    first, again = folder.cut(16, seed=5), folder.cut(16, seed=5)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert first.shape == (3, 16, 16) and 0 <= first.min() and first.max() <= 1


def test_a_damaged_picture_is_named_and_passed_over(pictures):
    (pictures / "broken.png").write_bytes((pictures / "0.png").read_bytes()[:100])
    said = []
    folder = PictureFolder(find_pictures([pictures]), report=said.append)
    for seed in range(20):
        assert folder.cut(8, seed=seed).shape == (3, 8, 8)
    assert len(said) == 1 and "broken.png" in said[0]


def test_nothing_but_damaged_pictures_is_an_error(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(FileError, match="none of the 1"):
        PictureFolder(find_pictures([tmp_path])).cut(8, seed=0)


def test_a_source_without_pictures_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_pictures([tmp_path / "nowhere"])


def test_pictures_of_scikit_image_are_found_by_name():
    assert find_pictures(["skimage:astronaut.png"])[0].name == "astronaut.png"


def test_a_capture_without_noise_or_error_is_reconstructed_well():
    camera = OperatorCamera(small_camera(), slope=1.0)
    scene = render_scene(32, seed=1)
    seen = camera.observe_at(scene, noise=1e-4, seed=0)
    truth = torch.nn.functional.avg_pool2d(scene, 2)
    assert psnr(seen.rgb[0], truth, data_range=1.0) > 35
    noisier = camera.observe_at(scene, noise=3.0, seed=0)
    wrong = camera.observe_at(scene, noise=1e-4, error=0.4, seed=0)
    for worse in (noisier, wrong):
        assert psnr(worse.rgb[0], truth, data_range=1.0) < 30


def test_the_penalty_is_what_noise_and_prior_say():
    scene = render_scene(32, seed=2)
    seen = OperatorCamera(small_camera(), slope=1.0).observe_at(scene, noise=0.1, seed=3)
    penalty = (seen.noise_std / seen.prior_std).square()
    gains = seen.factors.gains
    inverse = gains / (gains.square() + penalty[..., None, None])
    again = seen.factors.synthesise(inverse * seen.factors.analyse(seen.capture))
    torch.testing.assert_close(again, seen.planes)
    assert seen.start("linear").conditioning().shape == (1, 8, 16, 16)


def test_drawn_cameras_see_their_scenes():
    camera = draw_camera(32, seed=7)
    scene = render_scene(camera.scene_side, seed=1)
    seen = camera.observe_at(scene, exposure_s=camera.camera.auto_exposure(scene), seed=1)
    truth = torch.nn.functional.avg_pool2d(scene, 2)
    matched = np.corrcoef(seen.rgb.flatten(), truth.flatten())[0, 1]
    assert matched > 0.8


def test_cached_pairs_are_the_same_made_and_read(tmp_path):
    pairs = SimulatedPairs(3, 32, seed=1, num_cameras=1)
    made = CachedPairs(pairs, tmp_path)[2]
    read = CachedPairs(pairs, tmp_path)[2]
    torch.testing.assert_close(made.picture, read.picture, rtol=0, atol=0)
    torch.testing.assert_close(made.conditioning, read.conditioning, rtol=0, atol=0)
    torch.testing.assert_close(pairs[2].picture, read.picture, rtol=1e-3, atol=1e-3)


class Offset:
    """Pairs whose starts are too dark everywhere, by more each."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        conditioning = torch.zeros(8, 32, 32)
        return Pair(torch.full((3, 32, 32), 0.1 * index - 1), conditioning)


def test_pairs_that_are_wrong_on_the_large_scale_are_left_out():
    pairs = SelectedPairs(Offset(), 0.15)
    assert [float(pairs[index].picture.mean()) for index in range(len(pairs))] == pytest.approx(
        [-1.0, -0.9]
    )
    with pytest.raises(ValueError, match="no pair"):
        SelectedPairs(Offset(), -1.0)


def test_fine_errors_alone_leave_no_pair_out():
    checks = torch.tensor([0.5, -0.5]).repeat(32, 16)
    pair = Pair(checks.expand(3, -1, -1), torch.full((8, 32, 32), 0.2140411))
    assert len(SelectedPairs([pair], 0.01)) == 1


class Numbered:
    """Pairs whose pictures say which they are."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        from barelens.imaging.refine.training import Pair

        rows = torch.arange(64.0).reshape(1, 8, 8).expand(3, -1, -1)
        return Pair(100 * index + rows, 100 * index + rows.repeat(2, 1, 1), f"picture {index}")


def settings(**changes):
    model = ModelSettings(patch=2)
    return TrainingSettings(model=model, batch_size=4, crop=4, **changes)


def test_every_pair_comes_once_an_epoch():
    batches = BatchMaker(Numbered(), settings())
    seen = [int(picture[0, 0, 0] // 100) for step in range(3) for picture in batches(step).picture]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_picture_and_conditioning_are_cut_alike():
    batch = BatchMaker(Numbered(), settings())(5)
    assert batch.picture.shape == (4, 3, 4, 4)
    torch.testing.assert_close(batch.picture, batch.conditioning[:, :3])


def test_processes_share_what_one_alone_does():
    alone = BatchMaker(Numbered(), settings())(3)
    shared = [BatchMaker(Numbered(), settings(), rank=rank, world=2)(3) for rank in (0, 1)]
    torch.testing.assert_close(torch.cat([part.picture for part in shared]), alone.picture)
    assert shared[0].seeds + shared[1].seeds == alone.seeds


def test_captions_are_dropped_as_often_as_asked():
    batches = BatchMaker(Numbered(), settings(prompt_dropout=0.5))
    captions = [caption for step in range(50) for caption in batches(step).captions]
    assert 60 < sum(caption == "" for caption in captions) < 140


def capture_set(folder, number=3):
    (folder / "captures").mkdir()
    (folder / "pictures").mkdir()
    for index in range(number):
        frame = torch.full((8, 8), 10 * index, dtype=torch.uint8)
        write_png(folder / "captures" / f"{index}.png", frame)
        write_png(folder / "pictures" / f"{index}.png", frame)
    return folder


def seen(raw):
    """Take a frame for its own reconstruction."""
    planes = raw.float().expand(1, 4, 8, 8) / 255 + 0.01
    factors = SeparableFactors.of(small_camera(sensor=20, scene=8))
    one = torch.ones(1, 4)
    return Observation(planes, factors, planes, one, one)


def test_captures_and_pictures_are_paired_by_name(tmp_path):
    folder = capture_set(tmp_path)
    (folder / "captions.json").write_text(json.dumps({"1": ["one", "uno"], "2": "two"}))
    pairs = CapturePairs(folder_entries(folder), seen, conditioning="capture", side=8, seed=None)
    assert len(pairs) == 3
    assert [pairs[index].caption for index in range(3)] == ["", "one", "two"]
    assert pairs[1].conditioning.shape == (4, 8, 8) and pairs[1].picture.shape == (3, 8, 8)


def test_a_damaged_capture_is_named_and_another_stands_in(tmp_path):
    folder = capture_set(tmp_path)
    (folder / "captures" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    said = []
    pairs = CapturePairs(
        folder_entries(folder), seen, conditioning="linear", side=8, seed=0, report=said.append
    )
    torch.testing.assert_close(pairs[1].picture, pairs[2].picture)
    assert len(said) == 1 and "1.png" in said[0]


def test_the_published_layout_is_read(tmp_path):
    folder = capture_set(tmp_path)
    rows = [
        {"file_name": "pictures/0.png", "capture": "captures/0.png", "captions": ["a", "b"]},
        {"image": "pictures/1.png", "flatcam_file_name": "captures/1.png", "text": "c"},
    ]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    entries = difuzcam_entries(folder)
    assert [entry.captions for entry in entries] == [("a", "b"), ("c",)]
    assert all(entry.capture.is_file() and entry.picture.is_file() for entry in entries)


def test_unknown_columns_of_the_published_layout_are_listed(tmp_path):
    (tmp_path / "metadata.jsonl").write_text('{"left": "a", "right": "b"}')
    with pytest.raises(ValueError, match="left, right"):
        difuzcam_entries(tmp_path)


def test_a_penalty_factor_makes_reconstructions_smoother():
    operator = small_camera()
    capture = operator.forward(torch.rand(4, 16, 16, generator=torch.Generator().manual_seed(0)))
    capture = capture + torch.randn(capture.shape, generator=torch.Generator().manual_seed(1))
    factors = SeparableFactors.of(operator)
    plain, smooth = (observe(capture, factors, penalty_factor=f).planes for f in (1.0, 100.0))
    assert smooth.norm() < plain.norm()
