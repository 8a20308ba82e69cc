"""Trust: what of a picture was measured, how far it may be off, and whether it can be true."""

from .camera_fit import CameraFit, CameraTest, CameraVerdict
from .colours import keep_measured_colours, split_colours
from .conformal import Conformal, fit_conformal, fit_conformal_to_pictures
from .localise import LocalTest, WindowTest, check_sensor_windows
from .motion import MotionBasis
from .noise import estimate_noise_std, estimate_prior_std, fill_missing
from .overlay import draw_scale, overlay_invented
from .picture_fit import PictureFit, check_picture
from .planner import Exposure, LitScene, Plan, plan_camera
from .spectrum import (
    Factors,
    FourierFactors,
    factorise,
    filter_scene,
    mean_share,
    overall_share,
)
from .split import PromptAudit, Split, audit_prompt, keep_measured, split_picture, support_measured
from .statistics import ChiSquare, benjamini_hochberg
from .uncertainty import (
    ErrorMaps,
    ReconstructionVariance,
    local_std,
    merge_planes_variance,
    reconstruction_variance,
    sample_spread,
    sampled_std,
)
from .verdict import PictureVerdict, Verdict, combine_verdicts, judge_picture

__all__ = [
    "CameraFit",
    "CameraTest",
    "CameraVerdict",
    "ChiSquare",
    "Conformal",
    "ErrorMaps",
    "Exposure",
    "Factors",
    "FourierFactors",
    "LitScene",
    "LocalTest",
    "MotionBasis",
    "PictureFit",
    "PictureVerdict",
    "Plan",
    "PromptAudit",
    "ReconstructionVariance",
    "Split",
    "Verdict",
    "WindowTest",
    "audit_prompt",
    "benjamini_hochberg",
    "check_picture",
    "check_sensor_windows",
    "combine_verdicts",
    "draw_scale",
    "estimate_noise_std",
    "estimate_prior_std",
    "factorise",
    "fill_missing",
    "filter_scene",
    "fit_conformal",
    "fit_conformal_to_pictures",
    "judge_picture",
    "keep_measured",
    "keep_measured_colours",
    "local_std",
    "mean_share",
    "merge_planes_variance",
    "overall_share",
    "overlay_invented",
    "plan_camera",
    "reconstruction_variance",
    "sample_spread",
    "sampled_std",
    "split_colours",
    "split_picture",
    "support_measured",
]
