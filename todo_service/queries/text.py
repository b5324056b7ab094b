"""The comparison of text: letter case and composition make no difference, in every database alike.

Case is folded by the collation `unicode_text`, which a migration makes of the rules that this server has for Unicode,
so the locale of the database does not matter. A letter and its accent are the same text in one character or in two
(NFC). Text in ASCII, which is both, takes a short way.
"""


def folded(text: str) -> str:
    """Return the SQL expression of a text as it is compared; `text` is an expression, which is evaluated repeatedly."""
    composed = f"CASE WHEN {text} IS NFC NORMALIZED THEN {text} ELSE normalize({text}, NFC) END"
    return (
        f'(CASE WHEN octet_length({text}) = length({text}) THEN upper({text} COLLATE "C") COLLATE "C" '
        f'ELSE upper(lower(({composed}) COLLATE unicode_text)) COLLATE "C" END)'
    )


def contains(text: str, parameter: str) -> str:
    """Return the SQL condition that a text holds another, a parameter."""
    return f"strpos({folded(text)}, (SELECT {folded(f'{parameter}::text')})) > 0"
