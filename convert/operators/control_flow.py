"""Operators of the control flow family."""
