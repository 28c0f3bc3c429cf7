"""Make the cards by which A2A knows agents, of what these have registered."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from a2a.utils.constants import PROTOCOL_VERSION_0_3, PROTOCOL_VERSION_1_0, TransportProtocol
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from .translate import JSON, MAX_DEPTH, TEXT

#: Where an agent takes JSON-RPC, below its own address.
RPC_PATH: Final = "/rpc"
#: The extension for what A2A has no field for: the JSON Schemas of the skills' inputs.
INPUT_SCHEMAS: Final = "urn:jackfield:a2a:input-schemas"

_TEXT_MODE: Final = "text/plain"
_BEARER: Final = "bearer"


def make_card(agent: Mapping[str, Any], address: str, *, anonymous: bool) -> AgentCard:
    """Make an agent's card.

    Args:
        agent: The agent as `agent.list` has it.
        address: Its address at the gateway.
        anonymous: Whether it can be called without a token.
    """
    skills = agent["skills"]
    # Jackfield's agents have no version: here it changes with the skills.
    text = json.dumps(skills, sort_keys=True).encode()
    card = AgentCard(
        name=agent["name"],
        description=f"{agent['name']}, an agent at Jackfield.",
        version=hashlib.sha256(text).hexdigest()[:12],
        supported_interfaces=[
            AgentInterface(
                url=address + RPC_PATH,
                protocol_binding=TransportProtocol.JSONRPC,
                protocol_version=PROTOCOL_VERSION_1_0,
            ),
            AgentInterface(
                url=address,
                protocol_binding=TransportProtocol.HTTP_JSON,
                protocol_version=PROTOCOL_VERSION_1_0,
            ),
            AgentInterface(
                url=address + RPC_PATH,
                protocol_binding=TransportProtocol.JSONRPC,
                protocol_version=PROTOCOL_VERSION_0_3,
            ),
        ],
        capabilities=AgentCapabilities(streaming=True, extensions=[_input_schemas(skills)]),
        default_input_modes=[_TEXT_MODE, JSON],
        default_output_modes=[_TEXT_MODE, JSON],
        skills=[_make_skill(skill) for skill in skills],
    )
    if not anonymous:
        scheme = SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme="Bearer"))
        card.security_schemes[_BEARER].CopyFrom(scheme)
        card.security_requirements.append(SecurityRequirement(schemes={_BEARER: StringList()}))
    return card


def _make_skill(skill: Mapping[str, Any]) -> AgentSkill:
    takes_text = TEXT in (skill.get("input") or {}).get("properties", {TEXT: {}})
    return AgentSkill(
        id=skill["id"],
        name=skill["id"],
        description=skill.get("description") or skill["id"],
        tags=["jackfield"],
        input_modes=[_TEXT_MODE, JSON] if takes_text else [JSON],
    )


def _input_schemas(skills: list[dict[str, Any]]) -> AgentExtension:
    schemas = {skill["id"]: skill["input"] for skill in skills if skill.get("input")}
    return AgentExtension(
        uri=INPUT_SCHEMAS,
        description="The JSON Schema of each skill's input: what the data of a message has to be. "
        'The skill is named by the message\'s metadata, as "skill".',
        params=ParseDict(schemas, Struct(), max_recursion_depth=MAX_DEPTH),
    )
