"""Many models at once: a plan of models and targets, in processes of their own, here or on a Ray cluster."""
