"""`Idempotency-Key`: a request that was answered is not carried out again but answered the same."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import HeaderParameter

from api.request import JsonRequest
from api.samples import KEY
from api.wire import Submitted
from shared.db import Database, Transaction
from shared.errors import FieldError, IdempotencyKeyReused, InvalidRequest, NotFound
from shared.events import Conversation
from shared.store.idempotency import claim_key, keep_answer

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Answer = TypeVar("Answer", Submitted, Conversation)


class Once:
    """Carries a request out, unless its owner has sent it before under the same key."""

    def __init__(self, db: Database, request: JsonRequest, key: str | None) -> None:
        self._db = db
        self._request = request
        self._key = key

    async def __call__(
        self,
        body: msgspec.Struct,
        kind: type[Answer],
        act: Callable[[Transaction], Awaitable[Answer]],
    ) -> Answer:
        """What `act` answers, or has answered. Where it raises, the key is as if never used."""
        owner = self._request.user.owner
        async with self._db.transaction(owner) as tx:
            if self._key is None:
                return await act(tx)
            asked = self._asked(body)
            kept = await claim_key(tx, self._key, owner=owner, request_hash=asked)
            if kept is None:
                answer = await act(tx)
                await keep_answer(
                    tx,
                    self._key,
                    owner=owner,
                    conversation_id=_conversation_of(answer),
                    answer=msgspec.to_builtins(answer),
                )
                return answer
        if kept.request_hash != asked:
            raise IdempotencyKeyReused
        if kept.answer is None:
            raise NotFound
        return msgspec.convert(kept.answer, kind)

    def _asked(self, body: msgspec.Struct) -> bytes:
        request = self._request
        template = request.scope["path_template"]
        return request_hash(request.method, template, request.path_params, body)


def request_hash(method: str, template: str, ids: Mapping[str, Any], body: msgspec.Struct) -> bytes:
    """What is asked for, however it is written. A default counts as left out, so that a field that
    a later version adds doesn't make another request of what was sent before it.
    """
    said = {
        field.encode_name: value
        for field in msgspec.structs.fields(body)
        if (value := getattr(body, field.name)) != field.default
    }
    asked = (method, template, ids, said)
    return sha256(msgspec.json.encode(asked, order="deterministic")).digest()


def _conversation_of(answer: Submitted | Conversation) -> UUID:
    return answer.id if isinstance(answer, Conversation) else answer.turn.conversation_id


def provide_once(
    request: JsonRequest,
    db: NamedDependency[Database],
    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name=HEADER,
            description="Up to 255 visible ASCII characters of your choice. The same request with "
            "the same key is carried out once and answered the same for 24 hours; another request "
            "with it is refused.",
            examples=[Example(id="example", summary="example", value=KEY)],
        ),
    ] = None,
) -> Once:
    if idempotency_key is None:
        return Once(db, request, None)
    given = request.headers.getall(HEADER)
    if len(given) > 1:
        raise InvalidRequest(errors=[FieldError(HEADER, "Given more than once")])
    if not _KEY.fullmatch(given[0]):
        raise InvalidRequest(errors=[FieldError(HEADER, "Not 1 to 255 visible ASCII characters")])
    return Once(db, request, given[0])
