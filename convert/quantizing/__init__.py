"""Artifacts of lower precision: narrow floats and eight-bit integers, judged by what they lose."""
