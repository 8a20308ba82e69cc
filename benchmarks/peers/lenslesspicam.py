"""Run LenslessPiCam on the benchmark's inputs, inside LenslessPiCam's own environment.

    python lenslesspicam.py INPUT.npz OUTPUT.npz

It is a peer to measure, under the AGPL, and no part of barelens: this script imports it and
nothing of barelens. Every entry of OUTPUT is an array: NAME_scene and NAME_seconds for each
solver, where seconds are those of the repeats.
"""

import sys
import time
from types import SimpleNamespace

import numpy as np
import torch
from lensless import ADMM, FISTA
from lensless.recon.tikhonov import CodedApertureReconstruction


def timed(run, repeats=15):
    """Run once to warm up and then several times; return the last result and all seconds."""
    run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - started)
    return result, np.array(seconds)


def iterative(solver, psf, capture, iterations, **settings):
    """Set up outside the clock, as a user does once, and time the iterations."""
    reconstruction = solver(psf, **settings)
    reconstruction.set_data(capture)
    image, seconds = timed(
        lambda: reconstruction.apply(n_iter=iterations, disp_iter=None, plot=False)
    )
    return np.asarray(image).squeeze().copy(), seconds, reconstruction


def main(source, target):
    inputs = np.load(source)
    iterations, tau = int(inputs["iterations"]), float(inputs["tau"])
    psf, capture = (inputs[name][None, :, :, None] for name in ("psf", "capture"))
    outputs = {"threads": np.array(torch.get_num_threads())}
    for backend, convert in (("numpy", np.asarray), ("torch", torch.from_numpy)):
        data = convert(psf), convert(capture)
        for norm in ("ortho", "backward"):
            image, seconds, _ = iterative(FISTA, *data, iterations, norm=norm)
            outputs[f"fista_{backend}_{norm}_scene"] = image
            outputs[f"fista_{backend}_{norm}_seconds"] = seconds
        image, seconds, solver = iterative(ADMM, *data, iterations, tau=tau)
        outputs[f"admm_{backend}_scene"] = image
        outputs[f"admm_{backend}_field"] = np.asarray(solver._image_est).squeeze()
        outputs[f"admm_{backend}_seconds"] = seconds
        # Of the mask only the resolution is read where both matrices are given.
        mask = SimpleNamespace(resolution=inputs["planes"].shape[1:])
        matrices = [inputs[name] for name in ("phi_left", "phi_right")]
        planes = convert(np.ascontiguousarray(inputs["planes"].transpose(1, 2, 0)))

        def tikhonov(mask=mask, matrices=matrices, planes=planes):
            shape = [matrices[0].shape[1], matrices[1].shape[1]]
            solver = CodedApertureReconstruction(
                mask, shape, P=matrices[0], Q=matrices[1], lmbd=float(inputs["penalty"])
            )
            return solver.apply(planes)

        try:
            image, seconds = timed(tikhonov)
            outputs[f"tikhonov_{backend}_scene"] = np.asarray(image)
            outputs[f"tikhonov_{backend}_seconds"] = seconds
        except Exception as error:  # a peer's failure is a result to report
            print(f"LenslessPiCam's Tikhonov with {backend} failed: {error!r}", file=sys.stderr)
    np.savez(target, **outputs)


if __name__ == "__main__":
    main(*sys.argv[1:])
