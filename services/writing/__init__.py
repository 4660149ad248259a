"""The shared room for writing: what the reader found, put before a language model, and what stands of what it says."""

from services.writing.brief import Brief, Numbered, brief_of, draft_of, draft_saying
from services.writing.verdict import answer_of, sentences_of, strays

__all__ = ["Brief", "Numbered", "answer_of", "brief_of", "draft_of", "draft_saying", "sentences_of", "strays"]
