"""Turns weights into ONNX files: pruned, quantised, checked against a reference."""
