"""Documents read behind the wall: what `nectar.extract.extract` takes as its extractor."""

from __future__ import annotations

import json

from bees.core.sandbox import Limits, Sandbox, SandboxError
from nectar.extract.document import MAX_TEXT, REASONS, Document, NoText

LIMITS = Limits(memory=1 << 30, seconds=60.0, output=4 * MAX_TEXT)


class Extractor:
    """One warm child; made when the first document needs it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._sandbox = Sandbox(limits)

    def read(self, content: bytes, said: str) -> Document:
        """As `nectar.extract.read.read`; a reader that dies or takes too much is a reason like any other."""
        try:
            told, *text = self._sandbox.ask({"do": "document", "said": said}, content)
        except SandboxError as error:
            raise NoText(
                _CODES.get(error.code, error.code if error.code in REASONS else "extraction_crashed")
            ) from None
        return Document(b"".join(text).decode(), **json.loads(told))

    def close(self) -> None:
        self._sandbox.close()


_CODES = {"timeout": "extraction_timeout", "memory": "extraction_memory", "output": "too_much_text"}
