"""What stands on a line behind its statement."""

from __future__ import annotations

from freehold.flowzap.findings import Findings
from freehold.flowzap.syntax.piece import Piece


def report_rest(piece: Piece, at: int, findings: Findings) -> None:
    """Report what is left of a line; a comment can be moved to a line of its own."""
    left = piece.raw[at : piece.end]
    if left.startswith("//"):
        behind = piece.start + len(piece.raw[piece.start : at].rstrip())
        fix = [findings.insertion(piece.line, left), findings.edit(piece.line, behind, piece.end, "")]
        mend = "Put it on the line before."
        findings.add("FZ008", piece.line, (at, piece.end), "A comment stands behind a statement", mend, fix)
    else:
        said = f"`{short(left)}` is no part of the statement before it"
        findings.add("FZ008", piece.line, (at, piece.end), said, "Remove it, or put it on a line of its own.")


def short(text: str) -> str:
    """Give the beginning of a text, as much as a message needs."""
    return text if len(text) <= 40 else f"{text[:39]}…"
