"""Text in and out of a language model: tokenizer, prompts, answers."""
