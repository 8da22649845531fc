"""What a clock looks for after a cutover: missing and stale codes, and drift."""
