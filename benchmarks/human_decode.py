"""Batched decoding of heatmaps against a loop over maps with NumPy and OpenCV.

The loop takes the steps of published pose decoding in their order: maxima; for map after map a
zero-padded Gaussian blur of 11x11, scaled back to the old maximum; limits and logarithm of whole
maps; one Newton step. Both decode the same maps; the run fails if they disagree by more than
1e-3 px.

    python benchmarks/human_decode.py [--people 1 4 16] [--threads 8] [--device cuda]
"""

import argparse
import platform
import time

import cv2
import numpy as np
import torch

from barelens.pose.decode import decode_heatmaps

ROWS, COLUMNS, KEYPOINTS = 256, 192, 308
SIZE = (1024, 768)


def make_heatmaps(people: int, seed: int = 0) -> torch.Tensor:
    """Gaussians of a trained model's width and of heights from weak to sure, with some noise."""
    generator = torch.Generator().manual_seed(seed)
    shape = (people, KEYPOINTS, 1, 1)
    x = torch.rand(shape, generator=generator) * (COLUMNS - 1)
    y = torch.rand(shape, generator=generator) * (ROWS - 1)
    height = 0.05 + 0.95 * torch.rand(shape, generator=generator)
    down, across = torch.arange(ROWS)[:, None], torch.arange(COLUMNS)
    maps = height * torch.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * 6.0**2))
    return maps + 0.002 * torch.rand(maps.shape, generator=generator)


def decode_by_loop(heatmaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decode maps (people, keypoints, rows, columns) person by person, blurring map by map."""
    results = [decode_person(person) for person in heatmaps]
    return np.stack([result[0] for result in results]), np.stack([r[1] for r in results])


def decode_person(heatmaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = heatmaps.reshape(len(heatmaps), -1)
    y, x = np.unravel_index(flat.argmax(axis=1), heatmaps.shape[1:])
    scores = flat.max(axis=1)
    blurred = np.empty_like(heatmaps)
    for index, heatmap in enumerate(heatmaps):
        padded = np.zeros((ROWS + 10, COLUMNS + 10), np.float32)
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
    positions = (np.stack([x, y], axis=-1) - step) / [COLUMNS - 1, ROWS - 1] * [SIZE[1], SIZE[0]]
    return positions, scores


def fastest(function, repeats: int, device: torch.device) -> float:
    """Seconds of the fastest of several runs, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="of both sides"
    )
    parser.add_argument("--device", default="cpu", help="of the batched side")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    device = torch.device(args.device)
    print(f"{KEYPOINTS} heatmaps of {ROWS}x{COLUMNS} a person, {args.threads} thread(s), {device}")
    print(f"torch {torch.__version__}, OpenCV {cv2.__version__}, {platform.processor()}")
    print(f"{'people':>6} {'loop':>10} {'batched':>10} {'faster':>8} {'largest difference':>20}")
    for people in args.people:
        heatmaps = make_heatmaps(people)
        on_device, array = heatmaps.to(device), heatmaps.numpy()
        positions, scores = decode_by_loop(array)
        found = decode_heatmaps(on_device, SIZE)
        difference = np.abs(found.positions.cpu().numpy() - positions).max()
        if difference > 1e-3 or np.abs(found.scores.cpu().numpy() - scores).max() > 1e-6:
            raise SystemExit(f"the two decode differently, by up to {difference:.2g} px")
        loop = fastest(lambda array=array: decode_by_loop(array), 3, torch.device("cpu"))
        batched = fastest(lambda maps=on_device: decode_heatmaps(maps, SIZE), 10, device)
        print(
            f"{people:>6} {loop * 1e3:>7.1f} ms {batched * 1e3:>7.2f} ms {loop / batched:>7.0f}x "
            f"{difference:>17.1e} px"
        )


if __name__ == "__main__":
    main()
