"""Lets the tests of this folder use `odd_models` under ``--import-mode=importlib``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from odd_models import odd, odd_model, other_models, tensorflow_models, tf_worker  # noqa: F401
