"""What the web demo does, called as functions."""

import json
import struct
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from barelens import data
from barelens.app.stages import bundle, chain, choices, jobs, sources, uploads
from barelens.app.stages.choices import DemoSettings
from barelens.app.virtual_camera import VirtualSettings, fit_picture
from barelens.imaging.files import read_tiff16, write_png

SMALL = VirtualSettings(order=6, sensor_size=(160, 200), scene_size=(32, 32), field_of_view_deg=5)


@pytest.fixture(scope="module")
def virtual():
    """A capture of an astronaut by a small virtual camera."""
    return sources.photograph(sources.bundled_picture(), SMALL, seed=3)


def _claim(kind, size):
    """A tiny file that says it holds a picture of that size."""
    if kind == "png":
        head = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
        chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 9)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
    width, height = size
    tags = [
        *((256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1)),
        *((273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, width * height)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0"


HOSTILE = {
    "bomb.png": (_claim("png", (60_000, 60_000)), "pixels"),
    "large.tif": (_claim("tiff", (20_000, 10_000)), "pixels|values"),
    "text.png": (b"this is no picture", "text.png"),
    "empty.png": (b"", "is empty"),
    "cut.png": (_claim("png", (64, 64)), "cut.png"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("read", [uploads.read_picture, uploads.read_capture])
def test_hostile_files_are_refused_by_name_and_without_their_folder(read, name, tmp_path):
    content, expected = HOSTILE[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(uploads.UploadError, match=expected) as refused:
        read(path)
    assert str(tmp_path) not in str(refused.value)


def test_a_picture_of_one_pixel_is_refused(tmp_path):
    write_png(tmp_path / "dot.png", torch.zeros(1, 1, 3, dtype=torch.uint8))
    with pytest.raises(uploads.UploadError, match="1x1 pixels, wanted at least 16x16"):
        uploads.read_picture(tmp_path / "dot.png")
    dot = uploads.read_capture(tmp_path / "dot.png")
    with pytest.raises(ValueError, match="camera's frame"):
        chain.reconstruct(
            sources.Source("dot", dot, sources.bundled_camera("flatcam")), DemoSettings()
        )


def test_a_picture_is_read_as_linear_light(tmp_path):
    write_png(tmp_path / "grey.png", torch.full((16, 20, 3), 128, dtype=torch.uint8))
    light = uploads.read_picture(tmp_path / "grey.png")
    assert light.shape == (3, 16, 20)
    assert torch.allclose(light, torch.tensor(0.2158605), atol=1e-6)  # sRGB's 128/255


def test_a_zip_cannot_leave_its_folder_nor_fill_the_disk(tmp_path, monkeypatch):
    folder = tmp_path / "inside"
    folder.mkdir()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("../../outside.png", b"x")
        archive.writestr("/root/other.png", b"y")
        archive.writestr("run.sh", b"z")
    uploads.unpack(tmp_path / "set.zip", folder)
    assert sorted(path.name for path in folder.iterdir()) == ["other.png", "outside.png"]
    assert not (tmp_path / "outside.png").exists()
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.npy", bytes(3_000_000))
    monkeypatch.setattr(uploads, "MAX_ZIP_MB", 1)
    with pytest.raises(uploads.UploadError, match="unpacks to more than 1 MB"):
        uploads.unpack(tmp_path / "bomb.zip", tmp_path)


def test_a_virtual_capture_gives_back_its_scene_with_every_number(virtual, tmp_path):
    *_, outcome = chain.run(virtual, DemoSettings(seed=3), ["trust"])
    assert outcome.record["linear"]["psnr_db"] > 18
    assert [panel.key for panel in outcome.panels] == ["truth", "invented", "error"]
    record = bundle.write_bundle(tmp_path / "all.zip", outcome)
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert set(archive.namelist()) == {*record["files"].values(), "virtual.json"}
        assert json.loads(archive.read("virtual.json")) == record
        archive.extractall(tmp_path)
    stored = read_tiff16(tmp_path / record["files"]["linear"])
    span = float(outcome.scene.rgb.max() - outcome.scene.rgb.min())
    assert torch.allclose(stored, outcome.scene.rgb, atol=span / 65535)
    raw = uploads.read_capture(tmp_path / record["files"]["raw"])
    assert torch.equal(raw.int(), virtual.raw)


def test_the_same_seed_takes_the_same_capture_and_another_another(virtual):
    scene = sources.bundled_picture()
    assert torch.equal(sources.photograph(scene, SMALL, seed=3).raw, virtual.raw)
    assert not torch.equal(sources.photograph(scene, SMALL, seed=4).raw, virtual.raw)


def test_stages_without_weights_say_so_and_the_rest_goes_on(virtual, monkeypatch):
    monkeypatch.setattr(choices, "_WEIGHTS", dict.fromkeys(("refine", "people"), "none/none"))
    chain.refiner.cache_clear()
    chain.people_model.cache_clear()
    *_, outcome = chain.run(virtual, DemoSettings())
    assert set(outcome.skipped) == {"refine", "people"} == set(choices.missing_stages())
    assert "barelens train refiner" in outcome.skipped["refine"]
    assert outcome.trust is not None
    assert ("Left out: refine", outcome.skipped["refine"]) in bundle.numbers(outcome)


def _toy_refiner():
    """A refiner of diffusers' real classes, in pixel space and with random weights."""
    from diffusers import ControlNetModel, DDPMScheduler, UNet2DConditionModel

    from barelens.imaging.refine import Refiner, RefinerParts, RefinerRecord

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=12, out_channels=12, block_out_channels=(8, 16),
        norm_num_groups=4, layers_per_block=1, cross_attention_dim=8, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    controlnet = ControlNetModel.from_unet(
        unet, conditioning_channels=8, conditioning_embedding_out_channels=(8, 8)
    )
    record = RefinerRecord("linear", "pixel", patch=2, settings={"steps": 2})
    return Refiner(
        RefinerParts(
            record=record,
            unet=unet,
            controlnet=controlnet,
            scheduler_config=dict(DDPMScheduler().config),
        )
    )


def test_refining_takes_the_visitors_seed_and_imagination(virtual, monkeypatch):
    pytest.importorskip("diffusers")
    refiner = _toy_refiner()
    monkeypatch.setattr(chain, "refiner", lambda: refiner)
    linear = chain.reconstruct(virtual, DemoSettings(seed=7, imagination=0.0))
    outcome = chain.refine(linear)
    settings = outcome.record["refine"]["settings"]
    assert (settings["seed"], settings["imagination"]) == (7, 0.0)
    # Without imagination nothing but the measurement is left.
    before, refined = outcome.panel("before"), outcome.panel("refined")
    difference = before.picture.int() - refined.picture.int()
    assert difference.abs().float().mean() < 2
    assert abs(outcome.record["refine"]["psnr_db"] - linear.record["linear"]["psnr_db"]) < 0.5


def test_people_are_drawn_panel_by_panel(virtual, monkeypatch):
    from barelens.pose import HumanVision, MultiTaskConfig, MultiTaskModel
    from barelens.pose.labels import keypoint_layout

    config = MultiTaskConfig(
        keypoint_layout("coco17").names, ("Background", "Torso"), image_size=(64, 48),
        embed_dim=16, depth=1, num_heads=2, feedforward_dim=16, pose_channels=(8, 8),
        parts_channels=(8, 8), depth_channels=(8, 8), normals_channels=(8, 8), head_channels=8,
    )  # fmt: skip
    vision = HumanVision([MultiTaskModel(config, seed=1)])
    monkeypatch.setattr(chain, "people_model", lambda: vision)
    linear = chain.reconstruct(virtual, DemoSettings())
    outcome = chain.find_people(linear)
    kinds = ["keypoints", "parts", "normals", "depth"]
    assert outcome.record["people"]["panels"] == kinds
    assert all(panel.picture.shape == (32, 32, 3) for panel in outcome.panels)
    # Once it is known what was measured, it is said of people too.
    judged = chain.find_people(chain.judge(linear))
    assert judged.record["people"]["panels"] == [*kinds, "support"]
    (keypoints,) = judged.record["people"]["support"]["keypoints"]
    assert len(keypoints) == 17


def test_a_refined_picture_is_judged_where_the_linear_one_was(virtual, monkeypatch):
    pytest.importorskip("diffusers")
    refiner = _toy_refiner()
    monkeypatch.setattr(chain, "refiner", lambda: refiner)
    judged = chain.judge(chain.reconstruct(virtual, DemoSettings()))
    outcome = chain.refine(judged)
    trust = outcome.record["refine"]["trust"]
    assert trust["verdict"] in ("consistent", "inconsistent", "hallucination", "miscalibration")
    assert outcome.panel("refined_invented") is not None
    assert outcome.measured_share.shape == outcome.panel("refined").picture.shape[:2]
    assert not torch.equal(outcome.measured_share, judged.measured_share)


def test_a_practice_set_calibrates_and_its_camera_fits_a_capture(tmp_path):
    shares = []
    frame = jobs.make_practice_set(tmp_path / "set.zip")
    fitted = jobs.calibrate(
        tmp_path / "set.zip",
        white_level=frame.white_level,
        black_level=frame.black_level,
        bayer=frame.bayer,
        progress=lambda share, text: shares.append(share),
    )
    assert fitted.problems == []
    assert "<h1>your camera</h1>" in fitted.report
    assert "http" not in fitted.report.replace("http://www.w3.org", "")
    assert shares == sorted(shares) and shares[-1] > 0.9
    true = sources.photograph(sources.bundled_picture(), jobs.PRACTICE, seed=0)
    quality = [
        chain.reconstruct(source, DemoSettings()).record["linear"]["psnr_db"]
        for source in (true, replace(true, camera=fitted.camera))
    ]
    assert quality[1] > quality[0] - 1
    with pytest.raises(ValueError, match="white level must be above"):
        jobs.calibrate(tmp_path / "set.zip", white_level=1, black_level=2)


def test_a_batch_passes_over_what_it_cannot_use(tmp_path):
    good, bad = data.path("flatcam/fc_6.png"), data.path("flatcam/rec_6.png")
    camera = sources.bundled_camera("flatcam")
    result = jobs.run_batch([good, bad, good], camera, chain.linear_settings(DemoSettings()),
                            tmp_path / "batch.zip")  # fmt: skip
    assert set(result.done) == {"fc_6.png"}
    assert "camera's frame" in result.failed["rec_6.png"]
    with zipfile.ZipFile(tmp_path / "batch.zip") as archive:
        assert "fc_6.linear.tif" in archive.namelist()
    with pytest.raises(uploads.UploadError, match="1 to 20 captures, got 0"):
        jobs.run_batch([], camera, chain.linear_settings(DemoSettings()), tmp_path / "none.zip")


@pytest.mark.parametrize("wrong", [{"method": "magic"}, {"penalty": "-1"}, {"iterations": 10**6},
                                   {"seed": -1}, {"imagination": 2.0}])  # fmt: skip
def test_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DemoSettings(**wrong)


def test_settings_survive_a_link_and_rubbish_in_it():
    settings = DemoSettings("cg", "0.01", 30, 5, 0.2)
    query = {name: str(value) for name, value in settings.record().items()}
    assert DemoSettings.from_query(query) == settings
    assert DemoSettings.from_query({**query, "iterations": "-3"}).iterations == 100
    assert DemoSettings.from_query({"method": "<script>", "other": "1"}) == DemoSettings()


def test_a_picture_is_cut_around_its_centre():
    light = torch.zeros(3, 40, 80)
    light[..., 20:60] = 1
    assert torch.equal(fit_picture(light, (20, 20)), torch.ones(3, 20, 20))
    grown = fit_picture(torch.tensor(np.eye(4, dtype=np.float32))[None], (9, 9))
    assert grown.shape == (3, 9, 9) and 0 <= grown.min() and grown.max() <= 1
