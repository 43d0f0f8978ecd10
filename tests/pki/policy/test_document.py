"""What documents say, and how they are refused."""

import json

import pytest

from pki.errors import Malformed
from pki.policy.document import PATTERN_LIMIT, RULE_LIMIT, SIZE_LIMIT, Capability, Rule, check_name, parse
from tests.pki.policy.documents import ACCEPTED, GIVES, REFUSED, STRICTER

_READ = frozenset({Capability.READ})


def _refusal(text: str, name: str = "ours") -> Malformed:
    with pytest.raises(Malformed) as caught:
        parse(name, text)
    return caught.value


@pytest.mark.parametrize(
    "document",
    [
        {"path": {}},
        {"path": {"secret/*": {"capabilities": ["read", "list"]}}},
        {"path": {"a": {"capabilities": []}, "b/+/c": {"policy": "write", "comment": 'why "not"'}}},
        {"path": {"\N{LATIN SMALL LETTER E WITH ACUTE}": {"capabilities": ["deny", "sudo"]}}},
    ],
    ids=str,
)
def test_json_and_hcl_say_the_same(document: dict[str, dict[str, dict[str, object]]]) -> None:
    """The facts, 5.1: one internal form; only the lines differ, which JSON has none of."""
    blocks = (
        (path, " ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in block.items()))
        for path, block in document["path"].items()
    )
    hcl = "#\n" + "\n".join(f'path "{path}" {{ {content} }}' for path, content in blocks)
    expected = [(rule.pattern, rule.capabilities, rule.comment) for rule in parse("ours", json.dumps(document)).rules]
    assert [(rule.pattern, rule.capabilities, rule.comment) for rule in parse("ours", hcl).rules] == expected
    assert [rule.pattern for rule in parse("ours", hcl).rules] == list(document["path"])


def test_a_rule_knows_its_line() -> None:
    """Comments, heredocs and lists over several lines are counted."""
    text = f'/* 1\n 2 */ path "a" {{ capabilities = [\n"read"\n] comment = <<X\n why\nX\n}}\n\npath "b" {GIVES}'
    assert parse("ours", text).rules == (Rule("a", _READ, " why\n", 2), Rule("b", _READ, "", 9))


def test_an_indented_heredoc_loses_its_indent() -> None:
    """As `<<-` promises; the closing word may be indented in any case."""
    text = 'path "a" {\n  comment = <<-EOT\n    why\n      not\n    EOT\n}'
    assert parse("ours", text).rules[0].comment == "why\n  not\n"


@pytest.mark.parametrize(
    ("written", "given"),
    [
        ("read", "list read"),
        ("write", "create delete list read update"),
        ("sudo", "create delete list read sudo update"),
        ("deny", "deny"),
    ],
)
def test_the_old_shorthand_stands_for_capabilities(written: str, given: str) -> None:
    """`policy = "write"` came before capabilities, and policies still hold it."""
    assert sorted(parse("ours", f'path "a" {{ policy = "{written}" }}').rules[0].capabilities) == given.split()


@pytest.mark.parametrize("text", [*REFUSED, *STRICTER])
def test_every_refusal_advises(text: str) -> None:
    """DESIGN decision 14: each error says what to do next, in one line of ASCII (L2)."""
    refusal = _refusal(text)
    assert refusal.advice
    assert str(refusal).isascii()
    assert str(refusal).isprintable()


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_is_read_is_never_changed_by_its_spacing(text: str) -> None:
    """A blank line and a comment before and behind a document change nothing."""
    around = f"\n\t{text}\r\n " if text.lstrip().startswith("{") else f"# before\n\n{text}\n# behind"
    before = [(rule.pattern, rule.capabilities, rule.comment) for rule in parse("ours", text).rules]
    assert [(rule.pattern, rule.capabilities, rule.comment) for rule in parse("ours", around).rules] == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('path "a" {\n  capabilities = ["read", "reed"]\n}', "path 'a': line 2: unknown capability 'reed'"),
        (f'\npath "a/*/b" {GIVES}', "path 'a/*/b': line 2: * counts at the end only"),
        ('path "a" {\n\n ttl = 1\n}', "path 'a': line 3: unknown key 'ttl'"),
        ('path "a" {\n capabilities = "read"\n}', "path 'a': line 2: capabilities is a list"),
        ('\n\npolicy "a" {}', "line 3: unknown key 'policy'"),
        ('path "a" {\n', "line 2: the end of the policy stands where a key or a closing brace belongs"),
        ('path "a {\n}', "line 1: a string is not closed on its line"),
        ("\n/* *", "line 2: a comment is not closed"),
        ('path "a" { comment = <<EOT\n', "line 1: the heredoc 'EOT' is not closed"),
        ('path "a" { comment = << }', "line 1: a heredoc has no name"),
        ('path "a" {\n capabilities: []\n}', "line 2: ':' means nothing here"),
        ('path "a" {} path "b" {}\r', "line 1: '\\r' means nothing here"),
        ('path "a${x}" {}', "line 1: ${...} is not filled in here"),
        ('{\n "path": {\n', "line 3: the policy is not JSON: Expecting property name enclosed in double quotes"),
        ('{"path": {"a": {"capabilities": ["reed"]}}}', "path 'a': unknown capability 'reed'"),
        ('{"path": {"a": {"x": NaN}}}', "the policy is not JSON: NaN is no JSON number"),
        ('{"path": {}, "path": {}}', "'path' stands twice in one JSON object"),
        ('name = "other"', "line 1: the policy names itself otherwise than ours"),
        ("\ud800", "the policy is not Unicode text"),
        ("\n \t", "the policy is empty"),
    ],
)
def test_a_refusal_says_where_and_what(text: str, message: str) -> None:
    """Line, path and the word at fault."""
    assert _refusal(text).message == message


@pytest.mark.parametrize("key", ["allowed_parameters", "denied_parameters", "required_parameters", "min_wrapping_ttl"])
def test_conditions_are_refused_by_name_in_both_notations(key: str) -> None:
    """A rule whose condition were ignored would be wider than its author meant."""
    hcl = _refusal(f'path "a" {{\n  {key} {{ "x" = [] }}\n  capabilities = ["read"]\n}}')
    assert hcl.message == f"path 'a': line 2: {key} is not supported yet"
    in_json = _refusal(json.dumps({"path": {"a": {key: {"x": []}}}}))
    assert in_json.message == f"path 'a': {key} is not supported yet"


@pytest.mark.parametrize("pattern", ["secret/{{identity.entity.id}}/*", "a{{", "}}", "{{identity.groups.names.x.id}}"])
def test_templates_are_refused(pattern: str) -> None:
    """P4: nothing is filled into a pattern."""
    assert "templated paths are not supported yet" in _refusal(json.dumps({"path": {pattern: {}}})).message


@pytest.mark.parametrize(
    "name",
    [
        *(" root", "root ", "ROOT", "Root", "root\0", "root\n", "\N{FULLWIDTH LATIN SMALL LETTER R}oot", "root/"),
        *("", "-a", ".a", "_a", "a b", "a/b", "A", "\N{LATIN SMALL LETTER E WITH ACUTE}", "a" * 129, "a\u200b"),
        *("\N{KELVIN SIGN}", "\N{ARABIC-INDIC DIGIT ONE}", "r\N{CYRILLIC SMALL LETTER O}ot"),
    ],
)
def test_names_with_a_second_spelling_are_refused(name: str) -> None:
    """P2: nothing is trimmed, folded or cut; the check is the same for a policy that is written."""
    with pytest.raises(Malformed, match="is no name for a policy"):
        check_name(name)
    with pytest.raises(Malformed, match="is no name for a policy"):
        parse(name, "{}")


def test_root_is_reserved() -> None:
    """P2: no document takes the name of the policy that allows everything."""
    assert _refusal("{}", "root").message == "the name root is reserved"


@pytest.mark.parametrize("name", ["a", "0", "default", "team-1.prod_x", "a" * 128, "root2", "roots"])
def test_canonical_names_are_taken(name: str) -> None:
    """Lower-case ASCII letters, digits, and three marks."""
    check_name(name)
    assert parse(name, "{}").name == name


def test_sizes_are_bounded() -> None:
    """D1: what is too long is refused before it is read; what is just not is read."""
    fits = "#" + "x" * (SIZE_LIMIT - 1)
    assert parse("ours", fits).rules == ()
    assert _refusal(fits + "x").message == f"a policy has {SIZE_LIMIT} octets at most"
    rules = ['path "a" {}\n'] * RULE_LIMIT
    assert len(parse("ours", "".join(rules)).rules) == RULE_LIMIT
    assert _refusal("".join([*rules, 'path "a" {}'])).message == f"a policy has {RULE_LIMIT} rules at most"
    assert parse("ours", f'path "{"x" * PATTERN_LIMIT}" {{}}').rules[0].pattern == "x" * PATTERN_LIMIT
    assert f"a pattern has 1 to {PATTERN_LIMIT} characters" in _refusal(f'path "{"x" * PATTERN_LIMIT}y" {{}}').message
