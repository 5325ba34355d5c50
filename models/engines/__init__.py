"""What computes a network when it reads: torch in several ways, ONNX Runtime, OpenVINO."""
