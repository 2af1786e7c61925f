"""The catalogue of metrics: title, unit, range, direction and formula of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Needs = Literal["reference image", "reference volume", "dense", "landmarks3d"]
"""What a metric is computed against; 'dense' and 'landmarks3d' are kinds of truth, dense has both."""


@dataclass(frozen=True)
class Metric:
    """What a column of the scores means.

    Attributes:
        name: the column, one of `facepipe.core.schema.METRIC_COLUMNS`.
        title: how a plot or a table calls it.
        unit: 'dB', 'px' (reference pixels), 'deg', or '' for a ratio.
        low, high: the range of possible values; None where there is no bound.
        higher_is_better: the direction.
        needs: what it is computed against; null in the table where that is missing.
        formula: in words.
        source: where the definition comes from.
    """

    name: str
    title: str
    unit: str
    low: float | None
    high: float | None
    higher_is_better: bool
    needs: Needs
    formula: str
    source: str


_VRN = "Jackson et al., Large Pose 3D Face Reconstruction from a Single Image, ICCV 2017, section 4"
_OWN = "facepipe"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "psnr_db", "PSNR", "dB", 0.0, None, True, "reference image",
            "10 log10(255^2 / mean squared difference) over the pixels and channels of uint8 RGB",
            "scikit-image, peak_signal_noise_ratio with its defaults",
        ),
        Metric(
            "ssim", "SSIM", "", -1.0, 1.0, True, "reference image",
            "structural similarity, 7 x 7 uniform window, mean over pixels and channels",
            "Wang et al. 2004; scikit-image, structural_similarity with its defaults, channel_axis=-1",
        ),
        Metric(
            "iou", "Volume IoU", "", 0.0, 1.0, True, "dense",
            "voxels inside both / voxels inside either; inside means p >= 0.5",
            "Jaccard index",
        ),
        Metric(
            "coverage", "Coverage", "", 0.0, 1.0, True, "dense",
            "pixels where both front surfaces are / pixels where the true one is",
            _OWN,
        ),
        Metric(
            "nme", "NME", "", 0.0, None, False, "dense",
            "mean distance from the truth's face-region vertices to their predicted surface points / d; "
            "points are matched after rigid ICP and measured where they were predicted; d = 3D distance "
            "of the truth's outer eye corners",
            _VRN,
        ),
        Metric(
            "nme_icp", "NME after ICP", "", 0.0, None, False, "dense",
            "as nme, measured after the rigid alignment",
            _VRN,
        ),
        Metric(
            "depth_rmse_px", "Depth RMSE", "px", 0.0, None, False, "dense",
            "root mean square difference in z of the front surfaces over the pixels where both are",
            _OWN,
        ),
        Metric(
            "landmark_depth_nme", "Landmark depth NME", "", 0.0, None, False, "landmarks3d",
            "mean |z predicted - z true - median of these differences| / d over the inner 51 landmarks that "
            "lie in the predicted silhouette and that the true surface does not hide; null with fewer than "
            "10; without a dense true surface (`truth` is landmarks3d) hidden ones count, too, which is "
            "another figure: no mean of both",
            _OWN,
        ),
        Metric(
            "normal_deg", "Normal angle", "deg", 0.0, 180.0, False, "dense",
            "mean angle between the true normal at points of the visible true surface and the normal at the "
            "nearest predicted point",
            _OWN,
        ),
        Metric(
            "chamfer_rel", "Chamfer distance", "", 0.0, None, False, "dense",
            "mean of the two mean distances from points spread evenly over the part of either surface that "
            "the camera sees to the nearest point of the other / d",
            "Barrow et al. 1977, symmetric, unsquared",
        ),
        Metric(
            "fscore_1pct", "F-score at 1 % of d", "", 0.0, 1.0, True, "dense",
            "harmonic mean of the shares of these points that lie within 0.01 d of the other surface",
            "Knapitsch et al., Tanks and Temples, 2017",
        ),
        Metric(
            "ref_iou", "IoU with the reference's volume", "", 0.0, 1.0, True, "reference volume",
            "volume IoU with what the same regressor makes of the reference image; null where that is empty",
            _OWN,
        ),
        Metric(
            "ref_depth_rmse_px", "Depth RMSE to the reference's volume", "px", 0.0, None, False,
            "reference volume",
            "depth RMSE to what the same regressor makes of the reference image; null where either is "
            "empty or their silhouettes have no pixel in common",
            _OWN,
        ),
    )
}  # fmt: skip
"""By column name, in the order of the table. Identity similarity is not among them: no face embedding
with weights whose licence allows redistribution is known."""


def as_markdown() -> str:
    """The catalogue as the page docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "Columns of `scores.parquet`. Pixels are those of the 128-px reference, d is the 3D distance of the",
        "truth's outer eye corners. A column is null where what it needs is missing. This page is made from",
        "`facepipe.metrics.catalogue`.",
        "",
        "| column | unit | range | better | needs | formula | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for metric in METRICS.values():
        low = "" if metric.low is None else f"{metric.low:g}"
        high = "" if metric.high is None else f"{metric.high:g}"
        better = "higher" if metric.higher_is_better else "lower"
        cells = (f"`{metric.name}`", metric.unit, f"{low}..{high}", better, metric.needs, metric.formula)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (*cells, metric.source)) + " |")
    lines += [
        "",
        "The alignment of `nme` and `nme_icp` is damped point-to-plane ICP, 500 points and then 2000,",
        "limited to three median distances (`facepipe.metrics.alignment`). It ends when a step moves no",
        "point by 0.05 px; going on to 1e-4 px changes `nme` by 0.0002 on average (0.001 at most) and",
        "`nme_icp` by 0.00001. `nme` moves more because a face can slide along itself: it is measured where",
        "the points were predicted, with pairs found after the alignment. `run.json` records method, points,",
        "steps and tolerance (reference pixels) as `alignment`.",
    ]
    return "\n".join(lines) + "\n"
