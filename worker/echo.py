"""A model that needs nothing and says back what it heard, for demos and for end-to-end tests."""

import asyncio
import re
from collections.abc import AsyncGenerator

from worker.chat_model import ChatModel, Question, last_user_text

ECHO_MODEL_NAME = "echo"

# A word with the blanks after it, so that the pieces joined are the text again.
WORD = re.compile(r"\S+\s*|\s+")


class EchoModel(ChatModel):
    name = ECHO_MODEL_NAME

    def __init__(self, delay: float = 0.0) -> None:
        """`delay` seconds pass before every word but the first, to make streaming visible."""
        self._delay = delay

    async def answer(self, question: Question) -> AsyncGenerator[str]:
        for count, word in enumerate(WORD.findall(last_user_text(question.items))):
            if count and self._delay:
                await asyncio.sleep(self._delay)
            yield word
