"""FastAPI on uvicorn, with pydantic: the envelope by one model, then the payload by its own.

One model for both would be quicker, but only a server with a single message type can have that.
The rest is what was quickest here: uvicorn's own choice of WebSocket implementation, and JSON read
and written by pydantic.
"""

from contextlib import suppress
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field

from benchmarks.message import ROOM_LENGTH, TEXT_LENGTH

from .listening import listen


class Envelope(BaseModel):
    """What a message is wrapped in."""

    type: str
    id: int
    payload: dict[str, Any]


class Payload(BaseModel):
    """The payload, as `benchmarks.message.Message` has it."""

    room: Annotated[str, Field(min_length=1, max_length=ROOM_LENGTH)]
    text: Annotated[str, Field(min_length=1, max_length=TEXT_LENGTH)]
    reply_to: int | None = None
    tags: list[str] = []


class Reply(BaseModel):
    """The answer."""

    type: Literal["reply"] = "reply"
    id: int
    payload: Payload


app = FastAPI()


@app.websocket("/ws")
async def websocket(socket: WebSocket) -> None:
    """Answer each message of one client with what the model made of it."""
    await socket.accept()
    with suppress(WebSocketDisconnect):
        while True:
            envelope = Envelope.model_validate_json(await socket.receive_text())
            payload = Payload.model_validate(envelope.payload)
            reply = Reply(id=envelope.id, payload=payload)
            await socket.send_text(reply.model_dump_json())


if __name__ == "__main__":
    config = uvicorn.Config(
        app, loop="uvloop", ws_per_message_deflate=False, log_level="error", access_log=False
    )
    uvicorn.Server(config).run(sockets=[listen()])
