"""One append-only log of what was done: an event commits in the transaction of its act, or the act does not happen."""
