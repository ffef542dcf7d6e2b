"""Serving proven models: what TF Serving needs inside a SavedModel so far."""
