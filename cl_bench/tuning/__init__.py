"""Choosing settings: every strategy gets equal trials, judged on validation data with own seeds.

Budget, space and all trials are kept in a record, so that whoever reads a tuned result can see
what its settings cost and what else was tried.
"""
