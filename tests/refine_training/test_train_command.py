"""``barelens train refiner`` and ``barelens train distill``, as a person calls them."""

import json
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from barelens import data
from barelens.app.cli import cli
from barelens.imaging.refine import RefinerParts
from barelens.imaging.refine.training import TrainingSettings

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")

TOY = {
    "data": {"number": 2, "side": 32, "num_cameras": 1},
    "model": {"block_out_channels": [8, 16], "norm_num_groups": 4, "embedding_channels": [8]},
    "steps": 2,
    "batch_size": 1,
    "crop": 16,
    "validate_every": 2,
    "validation_pairs": 1,
}


def call(*arguments):
    return CliRunner().invoke(cli, ["train", *map(str, arguments)])


def test_a_refiner_is_trained_continued_and_distilled(tmp_path):
    settings, out, cache = tmp_path / "toy.json", tmp_path / "run", tmp_path / "pairs"
    settings.write_text(json.dumps(TOY))
    first = call("refiner", "--settings", settings, "--out", out, "--cache", cache, "--until", 1)
    assert first.exit_code == 0, first.output
    second = call("refiner", "--settings", settings, "--out", out, "--cache", cache)
    assert second.exit_code == 0, second.output
    record = RefinerParts.load(out / "refiner").record
    assert record.provenance["steps"] == 2 and record.settings["steps"] == 1
    distilled = call(
        *("distill", out / "refiner", "--settings", settings, "--out", tmp_path / "student"),
        *("--cache", cache, "--student-steps", 2, "--teacher-steps", 2, "--dtype", "float16"),
    )
    assert distilled.exit_code == 0, distilled.output
    assert RefinerParts.load(tmp_path / "student" / "refiner").record.settings["steps"] == 2


def _weights(folder):
    parts = RefinerParts.load(folder)
    return {
        f"{kind} {name}": value
        for kind in ("unet", "controlnet")
        for name, value in getattr(parts, kind).state_dict().items()
    }


def test_two_processes_train_what_one_does(tmp_path):
    settings = tmp_path / "toy.json"
    settings.write_text(json.dumps({**TOY, "batch_size": 2}))
    alone = call("refiner", "--settings", settings, "--out", tmp_path / "alone", "--threads", 1)
    assert alone.exit_code == 0, alone.output
    launch = (
        *("accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process"),
        *("1", "--main_process_port", "0", "-m", "barelens.app", "train", "refiner"),
    )
    together = subprocess.run(
        [sys.executable, "-m", *launch, "--settings", settings, "--out", tmp_path / "two"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert together.returncode == 0, together.stderr
    first, second = (_weights(tmp_path / name / "refiner") for name in ("alone", "two"))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-3, atol=1e-5, msg=name)
    # One process writes: each step once.
    lines = (tmp_path / "two" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--preset", "large"), "small, difuzcam"),
        (("--settings", "none.json"), "none.json"),
        (("--dtype", "int8"), "float32 or float16"),
        (("--pictures", "nowhere"), "nowhere"),
        (("--pairs", "a", "--difuzcam", "b"), "both"),
    ],
)
def test_mistakes_end_with_one_line(tmp_path, arguments, said):
    result = call("refiner", "--out", tmp_path, *arguments)
    assert result.exit_code == 1 and said in result.output
    assert result.output.count("\n") == 1


def test_the_shipped_settings_and_model_belong_together():
    settings = TrainingSettings.load(data.path("refiner/train.json"))
    record = RefinerParts.load(data.path("refiner/refiner.json").parent).record
    assert record.patch == settings.model.patch
    assert record.residual_scale == settings.model.residual_scale
    trained = TrainingSettings.from_record(record.provenance["training"])
    assert trained.model == settings.model and trained.steps == settings.steps


def test_held_out_pictures_are_not_trained_on():
    held = {
        entry["file"]
        for entry in json.loads(data.path("refiner/heldout.json").read_text())["pictures"]
    }
    sources = TrainingSettings.load(data.path("refiner/train.json")).data.sources
    assert not held & {source.removeprefix("skimage:") for source in sources}
