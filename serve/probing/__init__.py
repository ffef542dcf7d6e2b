"""Probing a served model: is it the model that it should be, does it agree with itself, how fast is it under load?

The package's function is ``xport.probe(url, …)``, `xport.serve.probing.api.probe`.
"""
