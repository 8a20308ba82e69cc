"""Pose decoding map by map with NumPy and OpenCV, as published code does it.

Maxima; for map after map a zero-padded Gaussian blur of 11x11, scaled back to the old maximum;
limits and logarithm of whole maps; one Newton step.
"""

import cv2
import numpy as np


def decode_by_loop(heatmaps: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Decode maps (people, keypoints, rows, columns) person by person, blurring map by map."""
    results = [decode_person(person, size) for person in heatmaps]
    return np.stack([result[0] for result in results]), np.stack([r[1] for r in results])


def decode_person(heatmaps: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = heatmaps.shape[1:]
    flat = heatmaps.reshape(len(heatmaps), -1)
    y, x = np.unravel_index(flat.argmax(axis=1), heatmaps.shape[1:])
    scores = flat.max(axis=1)
    blurred = np.empty_like(heatmaps)
    for index, heatmap in enumerate(heatmaps):
        padded = np.zeros((rows + 10, columns + 10), np.float32)
        padded[5:-5, 5:-5] = heatmap
        blurred[index] = cv2.GaussianBlur(padded, (11, 11), 0)[5:-5, 5:-5]
        blurred[index] *= heatmap.max() / blurred[index].max()
    np.clip(blurred, 1e-3, 50, out=blurred)
    np.log(blurred, out=blurred)
    log = np.pad(blurred, ((0, 0), (1, 1), (1, 1)), mode="edge")

    def at(down: int, across: int) -> np.ndarray:
        return log[np.arange(len(log)), y + 1 + down, x + 1 + across].astype(np.float64)

    slope = np.stack([at(0, 1) - at(0, -1), at(1, 0) - at(-1, 0)], axis=-1) / 2
    bend_x = at(0, 1) - 2 * at(0, 0) + at(0, -1)
    bend_y = at(1, 0) - 2 * at(0, 0) + at(-1, 0)
    cross = at(1, 1) + at(-1, -1) + 2 * at(0, 0)
    twist = (cross - at(0, 1) - at(1, 0) - at(0, -1) - at(-1, 0)) / 2
    hessian = np.stack([bend_x, twist, twist, bend_y], axis=-1).reshape(-1, 2, 2)
    hessian = hessian + np.finfo(np.float32).eps * np.eye(2)
    step = np.linalg.solve(hessian, slope[..., None])[..., 0]
    positions = (np.stack([x, y], axis=-1) - step) / [columns - 1, rows - 1] * [size[1], size[0]]
    return positions, scores
