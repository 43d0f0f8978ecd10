"""Policies: who may do what to which paths. Pure: documents are read, compiled and decided; nothing is stored here."""
