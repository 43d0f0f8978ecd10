"""The lint gate: nothing is signed that breaks RFC 5280 or the house's rules (docs/decisions/0006)."""

from pki.authority.lint.linter import Linter

__all__ = ["Linter"]
