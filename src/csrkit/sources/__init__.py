"""Where embeddings come from: anything that yields rows, as float32 blocks.

`open_source` takes arrays, memory-mapped files, torch tensors, paths, Parquet
columns and iterators, checks them, and gives one `Source`: ``n`` rows of width
``dim`` that can be read in order, by number, or shuffled for training. It never
normalises, never changes what it was given, and never holds more than a block
of data that does not fit its memory budget.
"""

from csrkit.sources.source import Block, Source, open_source

__all__ = ["Block", "Source", "open_source"]
