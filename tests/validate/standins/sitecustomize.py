"""Python imports this at start: in the workers of a test, the stand-in runs the TFLite files."""

import standin_runner  # noqa: F401  (found here, so found later)

from xport.formats import Format
from xport.validate.runners import RUNNERS

RUNNERS[Format.TFLITE] = "standin_runner:StandIn"
