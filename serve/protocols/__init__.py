"""The protocols of model servers, apart from any server: tensors from requests, answers from tensors."""
