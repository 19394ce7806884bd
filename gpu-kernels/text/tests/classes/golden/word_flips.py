"""Prints the table of src/tfidf/word_flips.rs: characters at which being part of a word, by Python's `re`, flips."""

import re
import textwrap
import unicodedata

flips, before = [], False
for point in range(0x110000):
    # Surrogates are no characters of a text.
    word = not 0xD800 <= point < 0xE000 and re.match(r"\w", chr(point)) is not None
    if word != before:
        flips.append(f"0x{point:X},")
        before = word
print(f"// Unicode {unicodedata.unidata_version}")
print(f"pub(super) const FLIPS: [u32; {len(flips)}] = [")
print(textwrap.fill(" ".join(flips), 119, initial_indent="    ", subsequent_indent="    "))
print("];")
