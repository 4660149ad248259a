"""Running a causal language model: sampling, verification of drafts, speculative decoding."""
