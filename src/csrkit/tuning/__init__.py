"""`tune`: measure what each setting of a search gives on your data, and write it to the card."""

from csrkit.tuning.run import tune

__all__ = ["tune"]
