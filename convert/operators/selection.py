"""Operators of the selection family."""
