"""The ids of the control tokens and citation marks in the vocabulary that edge and cloud share; pure Python.

`tokenizer` promises that they are these; an engine's worker reads them without loading a tokenizer.
"""


class TokenIds:
    """Control tokens, then the marks `[1]` to `[9]`."""

    PAD, BEGIN, END, QUESTION, PASSAGE, ANSWER, NONE, TEXT, SCHEMA, JSON = range(10)
    FIRST_MARK, MOST_PASSAGES = 10, 9
    MARKS = range(FIRST_MARK, FIRST_MARK + MOST_PASSAGES)
