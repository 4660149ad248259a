"""Language models: text as tokens, decoding, drafters, constraints, and the targets that verify drafts.

Nothing is imported here: what needs the ONNX runtime or the grammar engine is loaded by whoever uses it.
"""
