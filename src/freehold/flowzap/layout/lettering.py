"""How much room text takes, in the proportions of Helvetica, Arial and Liberation Sans, which are equal."""

from __future__ import annotations

import dataclasses
import functools
import unicodedata

LINE_RATIO = 1.3
NO_BREAK = "\u00a0"
LETTERS_MAX = 600  # longer ones are cut in the picture; the whole label stays in the title
ELLIPSIS = "…"
_BOLD_RATIO = 1.07
_SAFETY_RATIO = 1.03  # fonts of other proportions stay within the box
_WIDE = 1000
_OTHER = 610

# Thousandths of the font size, from the space on.
_ASCII = (
    *(278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278),
    *(556,) * 10,
    *(278, 278, 584, 584, 584, 556, 1015),
    *(667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833),
    *(722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611),
    *(278, 278, 278, 469, 556, 333),
    *(556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833),
    *(556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500),
    *(334, 260, 334, 584),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """Lines of text set in one size, with the room that they take."""

    lines: tuple[str, ...]
    size: float
    width: float
    is_bold: bool = False

    @property
    def height(self) -> float:
        """Give the height of all lines."""
        return len(self.lines) * self.size * LINE_RATIO


def set_text(text: str, size: float, width_max: float, *, lines_max: int = 4, is_bold: bool = False) -> Text:
    """Break a text into even lines.

    Args:
        text: Any text; blanks are folded, control characters dropped.
        size: Font size.
        width_max: A line's greatest width; a longer word is broken.
        lines_max: What is beyond is cut off with an ellipsis.
        is_bold: Whether it is set bold.
    """
    words = _words(visible(text)[:LETTERS_MAX], size, width_max, is_bold)
    if not words:
        return Text((), size, 0.0, is_bold)
    lines = _fill(words, width_max, size, is_bold)
    if len(lines) > lines_max:
        lines = [*lines[: lines_max - 1], _cut(lines[lines_max - 1], size, width_max, is_bold)]
    elif len(lines) > 1:
        lines = _even(words, lines, size, width_max, is_bold)
    return Text(tuple(lines), size, max(width_of(line, size, is_bold=is_bold) for line in lines), is_bold)


def visible(text: str) -> str:
    """Fold blanks and drop what cannot be seen or may not stand in XML; a no-break space stays one."""
    kept = "".join(letter if _is_printable(letter) else " " for letter in text)
    return " ".join(filter(None, kept.split(" "))).strip()


@functools.lru_cache(maxsize=8192)
def width_of(text: str, size: float, *, is_bold: bool = False) -> float:
    """Measure one line."""
    total = sum(_ASCII[ord(letter) - 32] if " " <= letter <= "~" else _width_beyond_ascii(letter) for letter in text)
    return total / 1000 * size * _SAFETY_RATIO * (_BOLD_RATIO if is_bold else 1.0)


def _width_beyond_ascii(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return _WIDE if unicodedata.east_asian_width(letter) in {"W", "F"} else _OTHER


def _is_printable(letter: str) -> bool:
    # Cs and Cn break XML; Cc is no text; Cf keeps joiners but not what turns the reading direction of the rest.
    if letter in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff":
        return False
    if letter == NO_BREAK:
        return True
    return not letter.isspace() and unicodedata.category(letter) not in {"Cc", "Cs", "Cn", "Co", "Zl", "Zp"}


def _words(text: str, size: float, width_max: float, is_bold: bool) -> list[str]:
    words: list[str] = []
    for word in filter(None, text.split(" ")):
        rest = word
        while width_of(rest, size, is_bold=is_bold) > width_max and len(rest) > 1:
            count = max(1, _fitting(rest, size, width_max, is_bold))
            words.append(rest[:count])
            rest = rest[count:]
        words.append(rest)
    return words


def _fitting(text: str, size: float, width_max: float, is_bold: bool) -> int:
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width_of(text[:middle], size, is_bold=is_bold) <= width_max else (low, middle - 1)
    return low


def _fill(words: list[str], width_max: float, size: float, is_bold: bool) -> list[str]:
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size, is_bold=is_bold) <= width_max:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _even(words: list[str], lines: list[str], size: float, width_max: float, is_bold: bool) -> list[str]:
    """Narrow the lines as long as their number stays the same, so that none is left nearly empty."""
    low, high = max(width_of(word, size, is_bold=is_bold) for word in words), width_max
    for _ in range(8):
        middle = (low + high) / 2
        tried = _fill(words, middle, size, is_bold)
        if len(tried) <= len(lines):
            lines, high = tried, middle
        else:
            low = middle
    return lines


def _cut(line: str, size: float, width_max: float, is_bold: bool) -> str:
    while line and width_of(line + ELLIPSIS, size, is_bold=is_bold) > width_max:
        line = line[:-1]
    return line.rstrip() + ELLIPSIS
