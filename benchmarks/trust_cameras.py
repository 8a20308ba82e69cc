"""Cameras and held-out photographs of the benchmark of trust."""

from dataclasses import dataclass
from functools import cached_property

import skimage.data
import torch

from barelens import data
from barelens.calibration import Camera
from barelens.calibration.motion import moved_rows
from barelens.imaging import SeparableOperator, Tikhonov, m_sequence, random_profile
from barelens.imaging.geometry import SeparableGeometry, transfer_matrices
from barelens.imaging.trust import CameraTest, WindowTest, factorise

#: Photographs that come with scikit-image; nothing here was ever fitted to one of them.
PHOTOS = (
    *("astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "grass"),
    *("gravel", "hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket"),
    *("text", "motorcycle"),
)


SNR_DB = 30.0


class Draws:
    """One stream of random numbers for the whole run."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self._generator, dtype=torch.float64)

    def integer(self, high: int) -> int:
        return int(torch.randint(high, (1,), generator=self._generator))

    def uniform(self) -> float:
        return float(torch.rand(1, generator=self._generator))

    def shuffled(self, items: tuple[str, ...]) -> list[str]:
        order = torch.randperm(len(items), generator=self._generator).tolist()
        return [items[k] for k in order]


def expose(
    operator: SeparableOperator, scene: torch.Tensor, draws: Draws, snr_db: float = SNR_DB
) -> tuple[torch.Tensor, float]:
    """Give a capture and the noise that it was given."""
    clean = operator.forward(scene)
    noise = float(clean.std()) * 10 ** (-snr_db / 20)
    return clean + noise * draws.normal(*clean.shape), noise


def photo(name: str, size: tuple[int, int], crop: float = 1.0) -> torch.Tensor:
    """Grey linear light of a photograph's middle, float64; a smaller crop shows less of it."""
    if name == "motorcycle":
        pixels = skimage.data.stereo_motorcycle()[0]
    else:
        pixels = getattr(skimage.data, name)()
    image = torch.tensor(pixels, dtype=torch.float64) / 255
    image = image[..., :3].mean(-1) if image.ndim == 3 else image
    side = int(min(image.shape) * crop)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    light = image[top : top + side, left : left + side].pow(2.2)
    return torch.nn.functional.interpolate(
        light[None, None], size, mode="bilinear", antialias=True
    )[0, 0]


@dataclass(frozen=True, eq=False)
class Bench:
    """A camera with all that is prepared once for it, float64, one plane, mean-free."""

    name: str
    left: torch.Tensor
    right: torch.Tensor

    @cached_property
    def operator(self) -> SeparableOperator:
        return SeparableOperator(self.left, self.right).centred()

    @cached_property
    def factors(self):
        return factorise(self.operator)

    @cached_property
    def tikhonov(self) -> Tikhonov:
        return Tikhonov(self.operator, "gcv")

    @cached_property
    def camera(self) -> CameraTest:
        return CameraTest(self.factors)

    @cached_property
    def windows(self) -> WindowTest:
        return WindowTest(self.factors, 16)

    @property
    def size(self) -> tuple[int, int]:
        return self.left.shape[1], self.right.shape[1]

    def moved(self, down: float, right: float) -> SeparableOperator:
        """Give the camera with its shadow moved by so many samples."""
        return SeparableOperator(
            moved_rows(self.left, 1.0, down), moved_rows(self.right, 1.0, right)
        ).centred()


def bundled() -> Bench:
    """Matrices of the real FlatCam of the bundled record, of its first green plane."""
    camera = Camera.load(data.path("flatcam/camera.safetensors"))
    left, right = (phi[1] if phi.ndim == 3 else phi for phi in (camera.phi_left, camera.phi_right))
    return Bench("bundled FlatCam", left.double(), right.double())


def virtual(name: str, profile: torch.Tensor, other: torch.Tensor, **dimensions) -> Bench:
    geometry = SeparableGeometry(**dimensions)
    left, right = transfer_matrices(geometry, profile, other)
    return Bench(name, left.coded, right.coded)


def cameras() -> list[Bench]:
    """Name the three cameras of the benchmark."""
    sequence = m_sequence(8, repeats=2)
    return [
        bundled(),
        virtual(
            "virtual m-sequence, 36 degrees",
            sequence,
            sequence,
            sensor_height=500,
            sensor_width=620,
            scene_height=256,
            scene_width=256,
            wavelength_nm=550.0,
        ),
        virtual(
            "virtual random mask, 50 degrees",
            random_profile(502, seed=0),
            random_profile(502, seed=1),
            sensor_height=400,
            sensor_width=480,
            scene_height=128,
            scene_width=160,
            field_of_view_deg=50.0,
            wavelength_nm=550.0,
        ),
    ]
