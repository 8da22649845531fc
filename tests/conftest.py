"""Settings of the whole suite."""

from hypothesis import settings

# the time limit per example fails tests on a busy machine and finds no fault
settings.register_profile("csrkit", deadline=None)
settings.load_profile("csrkit")
