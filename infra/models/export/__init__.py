"""Turns weights into ONNX files, at the precision that is asked for, checked against a reference."""
