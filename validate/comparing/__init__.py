"""One model on every runtime: the same weights, each contender a proven conversion, measured side by side."""
