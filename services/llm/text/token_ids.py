"""The ids of the control tokens and citation marks in the vocabulary that edge and cloud share; pure Python.

`tokenizer` promises that they are these; an engine's worker reads them without loading a tokenizer.
"""

PAD, BEGIN, END, QUESTION, PASSAGE, ANSWER, NONE, TEXT, SCHEMA, JSON = range(10)
MARKS = range(10, 19)
"""`[1]` to `[9]`."""
