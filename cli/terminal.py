"""Text of others on a terminal: shown, and never obeyed."""

_STAND_IN = "\ufffd"


def printable(text: str) -> str:
    """Return `text` with a stand-in for whatever could steer a terminal or hide other text; line ends stay."""
    return "".join(char if char.isprintable() or char == "\n" else _STAND_IN for char in text)


def one_line(text: str) -> str:
    """Return `text` as one printable line."""
    return printable(" ".join(text.split()))
