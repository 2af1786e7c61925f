"""The columns of every table that facepipe writes, as pyarrow schemas."""

from __future__ import annotations

import pyarrow as pa

TRUTH_KINDS = ("dense", "landmarks3d", "landmarks2d", "none")

SAMPLES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("subset", pa.string()),
        ("source_path", pa.string()),
        ("truth", pa.string()),
        ("crop_x0", pa.float64()),
        ("crop_y0", pa.float64()),
        ("crop_size", pa.float64()),
        ("yaw_deg", pa.float32()),
        ("pitch_deg", pa.float32()),
        ("roll_deg", pa.float32()),
        ("sha256", pa.string()),
        ("skin_tone", pa.float32()),
    ]
)

FAILURES = pa.schema(
    [
        ("sample_id", pa.string()),
        ("stage", pa.string()),
        ("condition", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)

METRIC_COLUMNS = (
    "psnr_db",
    "ssim",
    "iou",
    "coverage",
    "nme",
    "nme_icp",
    "depth_rmse_px",
    "landmark_depth_nme",
    "normal_deg",
    "chamfer_rel",
    "fscore_1pct",
    "ref_iou",
    "ref_depth_rmse_px",
)

SCORES = pa.schema(
    [
        ("run_id", pa.string()),
        ("dataset", pa.string()),
        ("sample_id", pa.string()),
        ("subset", pa.string()),
        ("degradation", pa.string()),
        ("low_px", pa.int32()),
        ("method", pa.string()),
        ("regressor", pa.string()),
        *((name, pa.float64()) for name in METRIC_COLUMNS),
        ("yaw_deg", pa.float32()),
        ("skin_tone", pa.float32()),
        ("truth", pa.string()),
        ("seconds", pa.float64()),
    ]
)

CONDITION_COLUMNS = ("degradation", "low_px", "method", "regressor")

TRAINING = pa.schema(
    [
        ("step", pa.int64()),
        ("faces", pa.int64()),
        ("seconds", pa.float64()),
        ("learning_rate", pa.float64()),
        ("loss", pa.float64()),
        ("validation_iou", pa.float64()),
        ("validation_depth_px", pa.float64()),
    ]
)
