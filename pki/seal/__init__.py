"""Envelopes and data keys: pure, given rows; this room opens no database.

KEK in the HSM, DEKs wrapped under it, one subkey a sealed value derived from a DEK and a random salt.
"""
