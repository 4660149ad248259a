"""How an answer is shown while it is made: the log of what was shown, and what each client has still to be told."""
