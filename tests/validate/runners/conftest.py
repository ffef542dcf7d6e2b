"""Lets the tests of this folder use ``tests/artifacts/odd_models.py`` under ``--import-mode=importlib``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "artifacts"))

from odd_models import odd, odd_model, other_models, tensorflow_models, tf_worker  # noqa: F401
