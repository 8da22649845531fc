"""Compress a collection that somebody already runs, in place: plan, job, verify, cut over."""

from csrkit.collection.home import CodeVector, DenseVector, Description, Home, Marker, Page

__all__ = ["CodeVector", "DenseVector", "Description", "Home", "Marker", "Page"]
