"""Say what an error is without what it quotes of somebody's data: for logs and spans, which an erasure does not reach.

Words of our own errors hold names, numbers and places, never a value. Foreign ones may quote what they choked on: a database
the row, a parser the text. Of those only the type is told, and where in the code it was raised, unless the type is
one that speaks of code alone.
"""

from __future__ import annotations

import traceback

from freehold.errors import FreeholdError

# A cause of a cause: more would be a loop.
CHAIN_MAX = 10
_OF_CODE = (
    FreeholdError,
    TypeError,
    AttributeError,
    NameError,
    ImportError,
    NotImplementedError,
    OSError,
    RecursionError,
)


def words_of(error: BaseException) -> str:
    """Give an error in one line: its own words if it is ours, else its type, and its words if they are about code."""
    text = str(error) if isinstance(error, _OF_CODE) else ""
    if isinstance(error, FreeholdError) and text:
        return text
    name = type(error).__qualname__
    return f"{name}: {text}" if text else name


def traceback_of(error: BaseException) -> str:
    """Give where an error was raised and what had caused it, as Python prints it, without the words of foreign errors."""
    chain: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(chain) < CHAIN_MAX:
        frames = "".join(traceback.format_tb(cause.__traceback__))
        chain.append(f"Traceback (most recent call last):\n{frames}{type(cause).__qualname__}: {words_of(cause)}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n\nwhich was caused by\n\n".join(chain)
