"""Operators of the sequences family."""
