"""The messages of `jackfield.v1` as the Python client reads and writes them: JSON objects."""

from typing import Any

import msgspec

#: A message as it stands on the wire, or the payload of one.
Message = dict[str, Any]

decode = msgspec.json.Decoder(Message).decode
encode = msgspec.json.Encoder().encode
