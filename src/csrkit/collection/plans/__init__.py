"""The parts of a plan: what it is, what may not be planned, the sample, recall, bytes, words."""
