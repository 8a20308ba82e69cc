"""Files for other tools: COCO, OpenPose, run-length masks, 16-bit maps, point clouds."""

from .coco import coco_dataset, coco_results, merge_datasets, write_coco
from .maps import read_depth_png, read_normal_png, write_depth_png, write_normal_png
from .openpose import openpose_record, write_openpose
from .ply import backproject_depth, write_ply
from .rle import decode_mask, encode_classes, encode_mask

__all__ = [
    "backproject_depth",
    "coco_dataset",
    "coco_results",
    "decode_mask",
    "encode_classes",
    "encode_mask",
    "merge_datasets",
    "openpose_record",
    "read_depth_png",
    "read_normal_png",
    "write_coco",
    "write_depth_png",
    "write_normal_png",
    "write_openpose",
    "write_ply",
]
