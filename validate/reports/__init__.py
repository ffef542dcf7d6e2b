"""What a validation hands out: words, JUnit, a comparison with an earlier run, a page."""
