"""The cloud's own engine: vLLM in process, verifying what the edges drafted in the batch that it decodes anyway.

vLLM is imported by `engine` alone, when an engine starts. Its worker imports `proposer` from here, and nothing else.
"""
