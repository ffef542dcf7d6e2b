"""Other people's converters, each in an environment of its own, because their pins cannot share one."""
