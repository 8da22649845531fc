"""`evaluate`: what a model loses on your data, and whether something else would serve better.

Every way to search sees the same documents and queries, in one run: exact
float32, the baselines of `csrkit.baselines`, and the model's codes in a real
store. The result is a `csrkit.report.Report`; nothing is chosen or drawn here.
"""

from csrkit.evaluation.run import evaluate

__all__ = ["evaluate"]
