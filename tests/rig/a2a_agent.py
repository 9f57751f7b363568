"""An agent made with the official SDK of A2A, for tests/e2e/a2a.rs. `a2a_agent.py TRACE KEY` prints its port.

The input `do` says what it does; every task that it begins or has cancelled leaves a line in the file TRACE, and the file TRACE.go
lets waiting tasks end. Requests but those for the card need the header `X-Key: KEY`.
"""

import asyncio
import pathlib
import socket
import sys

import uvicorn
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandlerV2
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    TaskStatus,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from starlette.applications import Starlette

TRACE = pathlib.Path(sys.argv[1])
GO = pathlib.Path(sys.argv[1] + ".go")


def leave(line):
    with TRACE.open("a") as file:
        file.write(line + "\n")


def text(words):
    return Message(message_id="m", role=Role.ROLE_AGENT, parts=[Part(text=words)])


def data(value):
    return ParseDict({"data": value, "mediaType": "application/json"}, Part())


class Agent(AgentExecutor):
    async def execute(self, context, queue):
        task = TaskUpdater(queue, context.task_id, context.context_id)
        if context.current_task:
            said = context.message.parts[0].text
            await task.add_artifact([data({"answer": said})])
            await task.complete()
            return
        asked = [MessageToDict(part.data) for part in context.message.parts if part.HasField("data")][0]["inputs"]
        leave("begun " + asked["do"] + " " + context.context_id)
        status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
        await queue.enqueue_event(
            Task(id=context.task_id, context_id=context.context_id, status=status, history=[context.message])
        )
        await task.start_work(text("reading the brief"))
        match asked["do"]:
            case "work":
                assert "# Task: " in context.message.parts[0].text
                await task.add_artifact([data({"sum": sum(asked["numbers"])})], name="sum")
                await task.complete(text("added"))
            case "wait":
                while not GO.exists():
                    await asyncio.sleep(0.05)
                await task.add_artifact([Part(text="waited")])
                await task.complete()
            case "ask":
                await task.requires_input(text("Which colour?"))
            case "refuse":
                await task.reject(text("not my trade"))
            case "break":
                raise RuntimeError("out of order")

    async def cancel(self, context, queue):
        leave("cancelled " + context.task_id)
        await TaskUpdater(queue, context.task_id, context.context_id).cancel()


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
port = listener.getsockname()[1]
card = AgentCard(
    name="clerk",
    description="Does what tests ask for",
    version="1",
    capabilities=AgentCapabilities(),
    default_input_modes=["text/plain", "application/json"],
    default_output_modes=["text/plain", "application/json"],
    skills=[AgentSkill(id="work", name="work", description="works", tags=["test"])],
    supported_interfaces=[
        AgentInterface(url=f"http://127.0.0.1:{port}/rpc", protocol_binding="JSONRPC", protocol_version="1.0")
    ],
)
handler = DefaultRequestHandlerV2(agent_executor=Agent(), task_store=InMemoryTaskStore(), agent_card=card)
inner = Starlette(routes=create_agent_card_routes(card) + create_jsonrpc_routes(handler, "/rpc"))


async def guarded(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/rpc" and dict(scope["headers"]).get(b"x-key") != sys.argv[2].encode():
        await send({"type": "http.response.start", "status": 401, "headers": []})
        return await send({"type": "http.response.body", "body": b"no"})
    await inner(scope, receive, send)


print(port, flush=True)
asyncio.run(uvicorn.Server(uvicorn.Config(guarded, log_level="critical")).serve([listener]))
