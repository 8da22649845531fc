"""Compress a collection that somebody already runs, in place: plan, job, verify, cut over."""

from csrkit.collection.compressing import compress
from csrkit.collection.finishing import Cutover, Saving
from csrkit.collection.health import Finding, Health, Latents, MonitorConfig, Quality
from csrkit.collection.home import CodeVector, DenseVector, Description, Home, Marker, Page
from csrkit.collection.job import Job
from csrkit.collection.monitoring import monitor
from csrkit.collection.planning import plan
from csrkit.collection.plans.facts import Plan
from csrkit.collection.status import Status, read_status
from csrkit.collection.verdict import Check, NotVerified, Searched, Verdict, VerifyConfig
from csrkit.collection.writing import DualWriter

__all__ = [
    "Check",
    "CodeVector",
    "Cutover",
    "DenseVector",
    "Description",
    "DualWriter",
    "Finding",
    "Health",
    "Home",
    "Job",
    "Latents",
    "Marker",
    "MonitorConfig",
    "NotVerified",
    "Page",
    "Plan",
    "Quality",
    "Saving",
    "Searched",
    "Status",
    "Verdict",
    "VerifyConfig",
    "compress",
    "monitor",
    "plan",
    "read_status",
]
