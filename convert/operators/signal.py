"""Operators of the signal family."""
