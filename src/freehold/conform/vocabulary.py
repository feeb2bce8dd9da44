"""What the words of a diagram mean: by its label, what happens at a node; by its name, who a lane is.

English stems, matched against whole words from their beginning. The first word of a label that means something decides,
among what can happen in that kind of lane at all; what the words leave open, the node's place decides (`binding`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from freehold.conform.step import Does

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_PHRASES = (("read model", "readmodel"), ("passed back", "returned"), ("pass back", "return"))

STEMS: tuple[tuple[Does, tuple[str, ...]], ...] = (
    ("compose", ("aggregat", "compos", "merg", "combin", "assembl", "join", "gather")),
    ("publish", ("publish", "outbox", "emit")),
    ("send", ("relay", "ship", "send")),
    ("topic", ("topic", "stream", "queue", "broker", "kafka", "channel")),
    ("acknowledge", ("acknowledg", "confirm")),
    ("consume", ("consum", "subscri", "listen")),
    ("embed", ("embed", "inside")),
    ("copy", ("sync", "replica", "copy", "copies", "readmodel", "project", "denormal")),
    ("answer", ("return", "respon", "answer", "repl", "result", "refus", "reject")),
    ("request", ("handl", "receiv", "request", "accept", "serve")),
    ("call", ("rout", "forward", "dispatch", "ask", "prox", "pass", "call", "delegat")),
    ("query", ("quer", "read", "select", "find", "list", "fetch", "load", "look", "search", "get")),
    ("commit", ("writ", "chang", "updat", "insert", "sav", "delet", "transact", "creat", "mak", "plac", "mov", "eras")),
    ("store", ("postgres", "mongo", "database", "db", "sql", "store", "collection", "table")),
)
_STEM_OF = [(stem, does) for does, stems in STEMS for stem in stems]
# "Customers replica" is a copy, "replies" is an answer: the longer stem is the more exact one.
_STEM_OF.sort(key=lambda pair: -len(pair[0]))

GATEWAY_WORDS = frozenset({"gateway", "bff", "edge", "door"})
BUS_WORDS = frozenset({"kafka", "bus", "broker", "topic", "stream", "queue", "event", "log"})
CLIENT_WORDS = frozenset({"client", "browser", "customer", "person", "user", "visitor", "app", "web", "mobile"})
STORE_WORDS = frozenset({"database", "db", "store", "postgresql", "postgres", "mongodb", "mongo"})
FILLING = frozenset({"the", "a", "of", "service", "services", "microservice", "api", "system"})


def words(text: str) -> list[str]:
    """Split a label or a name into its words, in lower case; "UserService" has two."""
    lowered = [
        word.lower() for word in _WORD.findall(text.replace("PostgreSQL", "Postgresql").replace("MongoDB", "Mongodb"))
    ]
    joined = " ".join(lowered)
    for phrase, word in _PHRASES:
        joined = joined.replace(phrase, word)
    return joined.split()


def singular(word: str) -> str:
    """Give the word without a plural's end, so that a lane "User" is the service `users`."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def meanings(label: str) -> list[Does]:
    """Give all that a label can mean, in the order of its words, each once."""
    found = (_meaning(word) for word in words(label))
    return list(dict.fromkeys(does for does in found if does is not None))


def name_words(names: Iterable[str]) -> set[str]:
    """Give what names who a lane is: the words of its id and name in the singular, without those that fill."""
    return {singular(word) for name in names for word in words(name)} - FILLING - {singular(word) for word in FILLING}


def _meaning(word: str) -> Does | None:
    return next((does for stem, does in _STEM_OF if word.startswith(stem)), None)
