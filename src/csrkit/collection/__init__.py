"""Compress a collection that somebody already runs, in place: plan, job, verify, cut over."""

from csrkit.collection.home import CodeVector, DenseVector, Description, Home, Marker, Page
from csrkit.collection.jobs.compressing import compress
from csrkit.collection.jobs.finishing import Cutover, Saving
from csrkit.collection.jobs.job import Job
from csrkit.collection.jobs.status import Status, read_status
from csrkit.collection.monitors.health import Finding, Health, Latents, MonitorConfig, Quality
from csrkit.collection.monitors.monitoring import monitor
from csrkit.collection.plans.facts import Plan
from csrkit.collection.plans.planning import plan
from csrkit.collection.verdicts.verdict import Check, NotVerified, Searched, Verdict, VerifyConfig
from csrkit.collection.writers.writing import DualWriter

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
