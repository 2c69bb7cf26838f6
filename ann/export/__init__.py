"""A network in other formats: ONNX, NumPy, safetensors and a web page."""
