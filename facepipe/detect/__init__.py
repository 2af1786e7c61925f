"""Find faces in pictures, and the square around each that the networks see."""

from facepipe.detect.detection import Detection, main_face
from facepipe.detect.detector import DEFAULT_DETECTOR, DETECTORS, Detector, open_detector
from facepipe.detect.framing import eyes_px, face_crop

__all__ = [
    "DEFAULT_DETECTOR",
    "DETECTORS",
    "Detection",
    "Detector",
    "eyes_px",
    "face_crop",
    "main_face",
    "open_detector",
]
