"""`CSRModel`: frozen weights, encode and decode, files. Needs numpy only."""

from csrkit.model.card import Calibration, Card, Effort, Measured, Rescore, Setting
from csrkit.model.codec import CSRModel, load
from csrkit.model.config import ModelConfig, Provenance, array_shapes, scale_count

__all__ = [
    "CSRModel",
    "Calibration",
    "Card",
    "Effort",
    "Measured",
    "ModelConfig",
    "Provenance",
    "Rescore",
    "Setting",
    "array_shapes",
    "load",
    "scale_count",
]
