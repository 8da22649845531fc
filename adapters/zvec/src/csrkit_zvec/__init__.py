"""csrkit's codes in zvec 0.8, a vector database inside the process.

    store = ZvecStore("index/")            a folder of codes, made if it is missing
    store = open_store("zvec://index")     the same by URL

zvec takes NaN, infinities and negative latents without a word; csrkit's checks keep them out.
"""

from csrkit_zvec.store import ZvecStore

__all__ = ["ZvecStore"]
