"""Did you mean: the word nearest to one that is not known."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

# A hostile file can ask for a million comparisons; nobody reads more suggestions than these pay for.
COMPARISONS_MAX = 3_000
LENGTH_MAX = 40
DIGITS_MAX = 6


class Suggester:
    """Finds near words, within a bound over a whole document."""

    def __init__(self) -> None:
        self._left = COMPARISONS_MAX

    def nearest(self, word: str, known: Iterable[str]) -> str | None:
        """Give the known word that differs least, None when none is near; of equals the first."""
        if not word or len(word) > LENGTH_MAX:
            return None
        folded = _folded(word)
        limit = max(1, len(word) // 3)
        best: str | None = None
        for candidate in known:
            if self._left == 0:
                return best
            other = _folded(candidate)
            if other == folded:
                return candidate
            if abs(len(other) - len(folded)) > limit or len(other) > LENGTH_MAX:
                continue
            self._left -= 1
            distance = _distance(folded, other)
            if distance <= limit:
                best, limit = candidate, distance - 1
        return best

    def nearest_id(self, word: str, known: Container[str]) -> str | None:
        """Give the declared node id that one slip of the finger turns into `word`, the likeliest."""
        return next(iter(self.near_ids(word, known)), None)

    def near_ids(self, word: str, known: Container[str]) -> Iterator[str]:
        """Give all declared node ids that one slip of the finger turns into `word`."""
        if word.casefold() in known:
            yield word.casefold()
        if f"n{word}" in known:
            yield f"n{word}"
        digits = word[1:]
        if len(digits) > DIGITS_MAX or not digits.isdecimal() or not digits.isascii():
            return
        places = range(len(digits))
        slips = [digits[:at] + digits[at + 1 :] for at in places]
        slips += [digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :] for at in places[:-1]]
        # Of the many ways to hit a wrong key the nearest number is the likeliest.
        changed = [digits[:at] + digit + digits[at + 1 :] for at in places for digit in "0123456789"]
        slips += sorted(changed, key=lambda slip: abs(int(slip) - int(digits)))
        slips += [digits[:at] + digit + digits[at:] for at in range(len(digits) + 1) for digit in "0123456789"]
        yield from (f"n{slip}" for slip in slips if f"n{slip}" in known)


def _folded(word: str) -> str:
    return word.casefold().replace(" ", "").replace("-", "").replace("_", "")


def _distance(left: str, right: str) -> int:
    """Count insertions, deletions, replacements and swaps of neighbours (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        two_before, before = before, row
        row = [i]
        for j, b in enumerate(right, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, two_before[j - 2] + 1)
            row.append(cost)
    return row[-1]
