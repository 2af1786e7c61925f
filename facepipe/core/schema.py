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
        ("interocular_px", pa.float32()),
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
        ("interocular_px", pa.float32()),
        ("truth", pa.string()),
        ("seconds", pa.float64()),
    ]
)


def metric_columns(scores: pa.Schema) -> tuple[str, ...]:
    """The metrics of a scores table: those that every run has, then those of plug-ins."""
    plugins = (
        field.name for field in scores if field.name not in SCORES.names and field.type == pa.float64()
    )
    return (*METRIC_COLUMNS, *plugins)


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

FACES = pa.schema(
    [
        ("face_id", pa.string()),
        ("source", pa.string()),
        ("sha256", pa.string()),
        ("kind", pa.string()),
        ("frame", pa.int64()),
        ("time", pa.timestamp("us")),
        ("time_source", pa.string()),
        ("box_x0", pa.float32()),
        ("box_y0", pa.float32()),
        ("box_x1", pa.float32()),
        ("box_y1", pa.float32()),
        ("interocular_px", pa.float32()),
        ("detector", pa.string()),
        ("score", pa.float32()),
        ("crop_x0", pa.float64()),
        ("crop_y0", pa.float64()),
        ("crop_size", pa.float64()),
        ("method", pa.string()),
        ("low_px", pa.int32()),
        ("regressor", pa.string()),
        ("thickness_px", pa.float32()),
        ("image_path", pa.string()),
        ("volume_path", pa.string()),
        ("mesh_path", pa.string()),
        ("pixels_deleted", pa.bool_()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("stored", pa.timestamp("us")),
        ("frames_key", pa.string()),
        ("method_key", pa.string()),
        ("regressor_key", pa.string()),
    ]
)
"""A row for each face of a surveillance archive, and one for each frame or file without a usable face.
Times are UTC. The archive's folders add `date`, the day of `time`."""

FILES = pa.schema(
    [
        ("path", pa.binary()),
        ("size_bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("inode", pa.int64()),
        ("sha256", pa.string()),
    ]
)
"""What files of an inbox contained when they were last read; a path is as the file system has it, an inode's
64 bits are read as a signed number, since Delta tables have no others. The archive adds `date`, the day on
which the batch began that read the file."""

STAGES = pa.schema(
    [
        ("started", pa.timestamp("us")),
        ("stage", pa.string()),
        ("units", pa.int64()),
        ("items", pa.int64()),
        ("work_seconds", pa.float64()),
        ("wall_seconds", pa.float64()),
        ("items_per_second", pa.float64()),
    ]
)
"""How fast each stage of each surveillance run was; `items_per_second` is by the wall clock."""

SUPERRES_TRAINING = pa.schema(
    [
        ("step", pa.int64()),
        ("patches", pa.int64()),
        ("seconds", pa.float64()),
        ("learning_rate", pa.float64()),
        ("loss", pa.float64()),
        ("validation_psnr_db", pa.float64()),
        ("validation_gain_db", pa.float64()),
    ]
)
