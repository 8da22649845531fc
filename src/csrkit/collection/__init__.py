"""Compress a collection that somebody already runs, in place: plan, job, verify, cut over."""

from csrkit.collection.compressing import compress
from csrkit.collection.finishing import Cutover, Saving
from csrkit.collection.home import CodeVector, DenseVector, Description, Home, Marker, Page
from csrkit.collection.job import Job
from csrkit.collection.status import Status, read_status
from csrkit.collection.writing import DualWriter

__all__ = [
    "CodeVector",
    "Cutover",
    "DenseVector",
    "Description",
    "DualWriter",
    "Home",
    "Job",
    "Marker",
    "Page",
    "Saving",
    "Status",
    "compress",
    "read_status",
]
