"""A parser of command lines whose errors are one sentence each."""
from __future__ import annotations

import argparse
from typing import NoReturn

from runner.errors import UsageError, nearest


class SentenceParser(argparse.ArgumentParser):
    """Raises UsageError for what it does not understand, and says what is most like it."""

    def error(self, message: str) -> NoReturn:
        text = message.rstrip(".")
        if text.startswith("unrecognized arguments: "):
            word = text[len("unrecognized arguments: "):].split()[0]
            name = word.partition("=")[0]
            known = [option for action in self._actions for option in action.option_strings]
            hint = nearest(name, known) if name.startswith("-") else ""
            text = f"'{word}' is no option{hint}; --help shows all"
        else:
            text += "; --help shows all options"
        raise UsageError(text + ".")
