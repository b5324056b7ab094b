"""How many guesses a secret takes, as zxcvbn counts them: it knows words, names, dates, rows of keys and repetitions.

A process of its own counts: the word lists would take 10 MB in each worker for as long as it lives.
"""

import json
import subprocess
import sys
from collections.abc import Mapping

MAX_LENGTH = 72  # characters that zxcvbn takes
MIN_GUESSES = 20  # powers of ten: three years at 10^12 guesses a second; 16 random bytes in hexadecimal take 27 or more
SECONDS = 30
PROGRAM = """
import json, sys
from zxcvbn import zxcvbn
json.dump([float(zxcvbn(text)["guesses_log10"]) for text in json.load(sys.stdin)], sys.stdout)
"""


def guessable(secrets: Mapping[str, str]) -> list[str]:
    """Return the names of the secrets that are easy to guess.

    Args:
        secrets: The texts by their names.
    """
    if not secrets:
        return []
    texts = {name: text[:MAX_LENGTH] for name, text in secrets.items()}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", PROGRAM],
        input=json.dumps([*texts.values()]),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    return [name for name, count in zip(texts, json.loads(done.stdout), strict=True) if count < MIN_GUESSES]
