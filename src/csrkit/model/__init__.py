"""`CSRModel`: frozen weights, encode and decode, files. Needs numpy only."""

from csrkit.model.codec import CSRModel, ModelConfig, Provenance, array_shapes, load, scale_count

__all__ = ["CSRModel", "ModelConfig", "Provenance", "array_shapes", "load", "scale_count"]
