"""The shared room for writing: what the reader found, put before a language model, and what stands of what it says."""

from tidegate.services.answering.agreement import answer_of, sentences_of, strays
from tidegate.services.answering.prompt_context import Brief, Numbered, brief_of, draft_of, draft_saying

__all__ = ["Brief", "Numbered", "answer_of", "brief_of", "draft_of", "draft_saying", "sentences_of", "strays"]
