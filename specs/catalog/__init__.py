"""The catalogue of modules: what people start a deployment from."""
