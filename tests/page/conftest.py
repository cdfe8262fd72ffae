from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.fixtures.browser import OpenWindow
from tests.fixtures.service import Service
from tests.page.chat import Chat


@pytest.fixture
async def chat(open_window: OpenWindow, service: Service) -> AsyncGenerator[Chat]:
    """Somebody new, signed in, on an empty page."""
    window = await open_window(service.url, service.person)
    chat = Chat(await window.open())
    yield chat
    service.stand_in.open_gate()
