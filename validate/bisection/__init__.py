"""Bisection: where two artifacts part, to the operator, and why."""
