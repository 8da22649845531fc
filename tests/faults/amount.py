"""How much is tried: little by default, much with CSRKIT_FAULTS=1, as `make faults` sets it."""

import os

LONG = bool(os.environ.get("CSRKIT_FAULTS"))
MOMENTS = 50 if LONG else 3  # at which a job is killed, on each home
SEEDS = 50 if LONG else 2  # of faults, and of somebody who writes
INPUTS = int(os.environ.get("CSRKIT_INPUTS", 1000 if LONG else 60))  # that make no sense
PATIENCE = 3600 if LONG else 300  # seconds for one test
