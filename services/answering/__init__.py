"""From passages and a language model to a grounded answer: prompt context, agreement, citations, sentence stream."""
