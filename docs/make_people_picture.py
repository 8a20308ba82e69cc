"""Make the README's picture of people, and the two pictures of a person that `make run` reads.

python docs/make_people_picture.py
"""

from pathlib import Path

import torch

from barelens import data
from barelens.imaging.display import side_by_side
from barelens.imaging.files import write_png
from barelens.pose import HumanOutput, HumanVision, load_multitask
from barelens.pose.crops import boxes_to_frames, crop_people
from barelens.pose.overlay import draw_depth, draw_normals, draw_parts, draw_people
from barelens.pose.synthetic import LenslessView, render_person

HELD_OUT_SEED, SIZE = 3, (256, 192)
PEOPLE = (1, 6)
ASTRONAUT_BOX = torch.tensor([[20.0, 0.0, 450.0, 512.0]])
LABELS = ["picture", "skeleton", "parts", "depth", "normals"]


def tiles(picture: torch.Tensor, output: HumanOutput) -> list[torch.Tensor]:
    """Draw a picture (3, height, width) and all that was found in it."""
    shown = picture.permute(1, 2, 0).contiguous()
    assert output.class_map is not None and output.parts is not None
    assert output.depth is not None and output.normals is not None
    mask = output.mask
    return [
        shown,
        draw_people(shown, output, min_score=0.2),
        draw_parts(shown, output.class_map, classes=output.parts),
        draw_depth(output.depth, mask=mask, invert=True),
        draw_normals(output.normals, mask=mask),
    ]


def astronaut() -> torch.Tensor:
    """Cut the astronaut of scikit-image out as the model's crop, (3, 256, 192)."""
    from skimage import data as photographs

    photograph = torch.from_numpy(photographs.astronaut()).permute(2, 0, 1)
    return crop_people(photograph, boxes_to_frames(ASTRONAUT_BOX, 3 / 4, padding=1.0), SIZE)[0]


def main() -> None:
    """Lay out a row for each picture: synthetic people, the same without a lens, a photograph."""
    vision = HumanVision([load_multitask(data.path("human/model.safetensors"))])
    folder = Path(data.__file__).parent / "human"
    lensless = LenslessView(SIZE)
    rows: list[torch.Tensor] = []
    for index in PEOPLE:
        person = render_person(index, seed=HELD_OUT_SEED, size=SIZE)
        pictures = {
            "person.png": person.image,
            "person_lensless.png": lensless(person.image, seed=index),
        }
        for name, picture in pictures.items():
            rows += tiles(picture, vision(picture, person.box[None]))
            if index == PEOPLE[-1]:
                write_png(folder / name, picture.permute(1, 2, 0).contiguous())
    picture = astronaut()
    rows += tiles(picture, vision(picture))
    montage = side_by_side(rows, LABELS * (len(rows) // len(LABELS)), columns=len(LABELS))
    write_png(Path(__file__).parent / "people.png", montage)


if __name__ == "__main__":
    main()
