"""Bodies of any shape in any pose, from the parametric model `anny`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "KEYPOINTS",
    "SHAPE_NAMES",
    "BodyModel",
    "PosedBody",
    "load_body_model",
    "vertex_normals",
]

_COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
_FEET = tuple(
    f"{side}_{toe}" for side in ("left", "right") for toe in ("big_toe", "small_toe", "heel")
)
_HANDS = tuple(
    f"{side}_{tip}" for side in ("left", "right") for tip in ("thumb4", "middle_finger4")
)

KEYPOINTS = (*_COCO, *_FEET, "neck", *_HANDS)
"""Names of the keypoints: COCO's 17, feet, neck and the tips of two fingers of each hand."""

SHAPE_NAMES = ("gender", "age", "muscle", "weight", "height", "proportions")
"""What a shape is made of; each from 0 to 1."""

_TIP_BONES = {"thumb4": "finger1-3", "middle_finger4": "finger3-3"}
_LAYERS = {"helper-skirt": 1, "helper-hair": 2}


@dataclass(frozen=True, eq=False)
class PosedBody:
    """A body in space, in metres: x to its left, y to its back, z up in the rest pose.

    Attributes
    ----------
    vertices : Tensor, shape (vertices, 3)
        Of the skin, then of eyes, skirt and long hair.
    keypoints : Tensor, shape (keypoints, 3)
        In the order of :data:`KEYPOINTS`.
    """

    vertices: Tensor
    keypoints: Tensor


class BodyModel:
    """The body model with what dressing and posing need to know of it.

    Attributes
    ----------
    faces : Tensor of int64, shape (faces, 3)
        Triangles of skin and eyes, skirt and long hair.
    layer : Tensor of int64, shape (faces,)
        0 for skin and eyes, 1 for the skirt, 2 for long hair.
    template : Tensor, shape (vertices, 3)
        The average body in its rest pose, in metres.
    bones : tuple of str
        Names of the bones.
    bone_of : Tensor of int64, shape (vertices,)
        The bone each vertex follows most.
    joints : mapping of str to Tensor of shape (3,)
        Where each bone of the average body begins.

    Raises
    ------
    ImportError
        The package `anny` is not installed.

    References
    ----------
    Brégier et al., "Human Mesh Modeling for Anny Body", arXiv 2511.03589.
    """

    def __init__(self) -> None:
        anny = _import_anny()
        self._model = _full_mesh_model(anny).to(torch.float32).eval()
        self._coco = anny.KeypointsRegressor.coco(self._model, list(_COCO + _FEET))
        self.bones: tuple[str, ...] = tuple(self._model.bone_labels)
        extra, layer = _read_faces(Path(anny.__file__).parent)
        skin = self._model.faces
        self.faces = torch.cat([skin, extra])
        self.layer = torch.cat([torch.zeros(len(skin), dtype=torch.int64), layer])
        strongest = self._model.vertex_bone_weights.argmax(dim=1, keepdim=True)
        self.bone_of: Tensor = self._model.vertex_bone_indices.gather(1, strongest)[:, 0]
        with torch.no_grad():
            rest = self._model()
        self.template: Tensor = rest["rest_vertices"][0]
        heads = rest["rest_bone_heads"][0]
        self.joints: Mapping[str, Tensor] = dict(zip(self.bones, heads, strict=True))
        self._tips = [self._tip(name) for name in _HANDS]

    @torch.no_grad()
    def pose(self, shape: Tensor, rotations: Mapping[str, Tensor]) -> PosedBody:
        """Give the body a shape and a pose.

        Parameters
        ----------
        shape : Tensor, shape (6,)
            Values of :data:`SHAPE_NAMES`.
        rotations : mapping of str to Tensor of shape (3, 3)
            Of bones against their rest pose, in the axes of the body; those of a bone turn all
            bones that hang on it.
        """
        transforms = torch.eye(4).repeat(1, len(self.bones), 1, 1)
        for bone, rotation in rotations.items():
            transforms[0, self.bones.index(bone), :3, :3] = rotation
        found = self._model(pose_parameters=transforms, phenotype_kwargs=shape[None])
        vertices = found["vertices"][0]
        neck = found["bone_poses"][0, self.bones.index("neck01"), :3, 3]
        keypoints = torch.cat([self._coco(found)[0], neck[None], vertices[self._tips]])
        return PosedBody(vertices, keypoints)

    def _tip(self, name: str) -> int:
        """Find the vertex at the end of a finger: the farthest from where its last bone begins."""
        side, finger = name.split("_", 1)
        bone = f"{_TIP_BONES[finger]}.{side[0].upper()}"
        own = (self.bone_of == self.bones.index(bone)).nonzero()[:, 0]
        distance = (self.template[own] - self.joints[bone]).norm(dim=1)
        return int(own[distance.argmax()])


@cache
def load_body_model() -> BodyModel:
    """Return the body model, built at the first call, which takes some seconds."""
    return BodyModel()


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Average the normals of the triangles (faces, 3) around each vertex; unit (vertices, 3)."""
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    normals = torch.linalg.cross(second - first, third - first)
    summed = torch.zeros_like(vertices)
    for corner in range(3):
        summed.index_add_(0, faces[:, corner], normals)
    return torch.nn.functional.normalize(summed, dim=1)


def _import_anny() -> Any:
    try:
        import anny
    except ImportError as error:
        raise ImportError(
            "synthetic people need the package anny: pip install 'barelens[synthetic]'"
        ) from error
    return anny


def _full_mesh_model(anny: Any) -> Any:
    """Build the model with the vertices of skirt and hair, which no triangles of it use."""
    from anny.models.model_data import TopologyConfig

    topology = TopologyConfig(base_mesh="makehuman", remove_unattached_vertices=False)
    return anny.Anny(topology=topology)


def _read_faces(package: Path) -> tuple[Tensor, Tensor]:
    """Read triangles of skirt and hair and their layer from the mesh the package comes with."""
    triangles, layers, layer = [], [], None
    with (package / "data/mpfb2/3dobjs/base.obj").open(encoding="ascii") as lines:
        for line in lines:
            if line.startswith("g "):
                layer = _LAYERS.get(line.split()[1])
            elif layer is not None and line.startswith("f "):
                a, b, c, d = (int(corner.split("/")[0]) - 1 for corner in line.split()[1:])
                triangles += [(a, b, c), (a, c, d)]
                layers += [layer, layer]
    return torch.tensor(triangles), torch.tensor(layers)
