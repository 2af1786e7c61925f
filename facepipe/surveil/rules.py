"""Resolve and fingerprint the settings that determine an archive's rows.

Each row keeps short digests of what made it: of what found it (detector, thresholds, frames looked at), of
the super-resolution method at its size, of the regressor. An input is up to date if none of the digests in
its rows has changed, so that another method concerns no frame without faces and no face that was large.
"""

from __future__ import annotations

from dataclasses import dataclass

from facepipe.bench.identity import digest
from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import UsageError
from facepipe.detect import Detector, open_detector
from facepipe.imaging.pixel_aspect import PixelAspects, parse_pixel_aspects
from facepipe.imaging.video import VideoBounds
from facepipe.imaging.video_index import FrameRule
from facepipe.models.superres.methods import get_method, resolve_methods
from facepipe.models.vrn.backends import Backend, check_backend
from facepipe.models.vrn.regressors import get_regressor
from facepipe.surveil.config import SurveilConfig

REVISION = 2
"""Of the code between decoding and the table: raised whenever rows may change."""

KEY_DIGITS = 12


@dataclass(frozen=True)
class Rules:
    """Everything that rows depend on beside the input; travels to the workers.

    Attributes:
        detector: finds faces.
        method: super-resolution method, resolved.
        regressor: volumetric regressor.
        backend: what runs it.
        frames: which frames of videos.
        min_interocular_px: smaller faces are not restored.
        aspects: of pixels, for videos that do not say.
        max_pixels, max_frames, max_seconds: bounds of decoding.
    """

    detector: Detector
    method: str
    regressor: str
    backend: Backend
    frames: FrameRule
    min_interocular_px: float
    aspects: PixelAspects
    max_pixels: int
    max_frames: int
    max_seconds: float

    @property
    def video_bounds(self) -> VideoBounds:
        """How much of a video is decoded."""
        return VideoBounds(self.max_pixels, self.max_frames, self.max_seconds)

    def frames_key(self, kind: str) -> str:
        """The digest of what finds faces in an 'image' or a 'video'."""
        facts: list[object] = [self.detector.fingerprint, self.min_interocular_px, self.max_pixels]
        if kind == "video":
            facts += [self.frames.every, self.frames.per_second, self.max_frames, self.max_seconds]
            facts += [str(self.aspects)]
        return _key("frames", kind, *facts)

    def method_key(self, low_px: int | None) -> str | None:
        """The digest of the method at a size; None where nothing was restored."""
        if low_px is None:
            return None
        return _key("method", self.method, low_px, get_method(self.method).fingerprint(low_px))

    def method_keys(self) -> list[str]:
        """The digests of the method at every size that it fits."""
        method = get_method(self.method)
        sizes = (px for px in range(1, NETWORK_PX) if method.fits(px))
        return [key for key in map(self.method_key, sizes) if key]

    def regressor_key(self) -> str:
        """The digest of the regressor."""
        return _key("regressor", self.regressor, get_regressor(self.regressor).fingerprint(), self.backend)

    def weights_of(self, stage: str) -> dict[str, str]:
        """Digests of the weights that a stage uses, as they are where this is asked, by name.

        Raises:
            UsageError, WeightsError: they are not there, or damaged.
        """
        if stage == "detect":
            return {f"detector {self.detector.name}": self.detector.fingerprint}
        if stage == "restore":
            return {self.method: _key("method", *self.method_keys())}
        return {self.regressor: self.regressor_key()} if stage == "regress" else {}

    def digest(self) -> str:
        """One digest of all: work that was begun under another one is begun again."""
        keys = [self.frames_key("image"), self.frames_key("video"), self.regressor_key()]
        return _key("rules", *keys, *self.method_keys())


def resolve_rules(config: SurveilConfig) -> Rules:
    """Look up what a configuration names.

    Raises:
        UsageError: a name is unknown, or a package is missing.
        WeightsError: weights are damaged.
    """
    if config.regressor == "none":
        raise UsageError("regressor 'none' makes no volume, and an archive needs one")
    backend = check_backend(config.backend)
    if config.method == "all":
        raise UsageError("method 'all': an archive is restored with one method, name it")
    (method,) = resolve_methods([config.method], [])
    if not any(get_method(method).fits(px) for px in range(1, NETWORK_PX)):
        raise UsageError(f"method {method!r} fits no size below {NETWORK_PX} px")
    every = config.every
    return Rules(
        detector=open_detector(config.detector),
        method=method,
        regressor=get_regressor(config.regressor).name,
        backend=backend,
        frames=FrameRule(every, 1.0 if config.per_second is None else config.per_second),
        min_interocular_px=config.min_interocular_px,
        aspects=parse_pixel_aspects(config.pixel_aspect),
        max_pixels=config.max_pixels,
        max_frames=config.max_frames,
        max_seconds=config.max_seconds,
    )


def _key(*parts: object) -> str:
    return digest([REVISION, *parts])[:KEY_DIGITS]
