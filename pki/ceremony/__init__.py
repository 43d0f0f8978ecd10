"""The offline root: a script that two people sign, the acts it names, the transcript of them, and what is carried back.

One half of this room runs on a machine without network or database, over a token of its own; the other half
(`request`, `installation`) runs where the service is. docs/decisions/0008 says why.
"""
