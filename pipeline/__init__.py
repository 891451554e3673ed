"""Podium: k-fold training, out-of-fold ensembles with honest scores, checked submissions.

The rooms, in the order in which a competition's files flow (docs/architecture.md draws them):
competition -> images -> folds -> training -> ensemble -> submission, on the foundations
config, artifacts, metrics and decisions.
"""
