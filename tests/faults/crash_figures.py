"""Figures of a crash test, for whoever asks: `pytest --log-cli-level=INFO`."""

import logging

logger = logging.getLogger("tests.figures")


def tell(**figures: object) -> None:
    """Log the figures at INFO."""
    logger.info("%s", ", ".join(f"{name} {value}" for name, value in figures.items()))
