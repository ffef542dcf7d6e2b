"""The matrix of a validation: artifacts, devices and batch sizes, each artifact and device in a process of its own."""
