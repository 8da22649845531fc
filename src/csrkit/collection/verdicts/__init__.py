"""Verification: what a job wrote, compared with what it should be, and what searches find."""
