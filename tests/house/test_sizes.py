"""The limits of size: what is longer than this is not read, and grows."""

from statistics import median, quantiles

from tests.house.tree import FOLDERS, length, modules, shipped

LONGEST_MODULE = 450
LONGEST_FUNCTION = 60
CODE = (*FOLDERS[:-1],)


def test_no_module_is_over_the_limit() -> None:
    """A module has 450 lines at most, in tests too."""
    assert [f"{module.path}: {module.lines}" for module in modules(*CODE) if module.lines > LONGEST_MODULE] == []


def test_no_function_is_over_the_limit() -> None:
    """A function has 60 lines at most, in tests too."""
    functions = [found for module in modules(*CODE) for found in module.functions()]
    assert [name for name, function in functions if length(function) > LONGEST_FUNCTION] == []


def test_modules_are_short_as_a_rule() -> None:
    """The median module of the shipped code has 180 lines at most, empty ones left out."""
    assert median(module.lines for module in shipped() if module.lines > 1) <= 180


def test_functions_are_short_as_a_rule() -> None:
    """The median function of the shipped code has 12 lines at most, nine in ten have 35 at most."""
    lengths = [length(function) for module in shipped() for _, function in module.functions()]
    assert median(lengths) <= 12
    assert quantiles(lengths, n=10)[-1] <= 35
