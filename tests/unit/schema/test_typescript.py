"""A schema becomes the TypeScript type of what it takes, or of what it gives."""

import enum
import re
import tempfile
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from marshmallow import EXCLUDE, INCLUDE, Schema, fields, validate

from jackfield import AnyPayload, NoPayload
from jackfield.declaration.pattern import Pattern
from jackfield.schema.json_schema import json_schema
from jackfield.schema.typescript import MessageType, PluginTypes, TopicTypes, typescript
from jackfield.wire.errors import RegistrationError
from tests.support.schemas import Made, schemas
from tests.support.typescript import compile_alone

ANYTHING = "{ [key: string]: unknown }"


class Author(Schema):
    name = fields.String(required=True)
    age = fields.Integer()


class Tree(Schema):
    value = fields.Integer(required=True)
    children = fields.List(fields.Nested(lambda: Tree()))  # noqa: PLW0108 - not a name yet


class Mood(str, enum.Enum):  # noqa: UP042 - a StrEnum is another string when it is printed
    CALM = "calm"


class Colour(enum.Enum):
    RED = 1
    GREEN = "green"


def written(
    *messages: MessageType, topics: tuple[TopicTypes, ...] = (), plugin: str = "chat"
) -> str:
    return typescript([PluginTypes(plugin, messages, topics)])


def _part(text: str, start: str, end: str) -> str:
    found = re.search(rf"^ {{6}}{start}: (.*?);\n {{{end}", text, re.MULTILINE | re.DOTALL)
    assert found, text
    return re.sub(r"^ {6}", "", found[1], flags=re.MULTILINE)


def sent(schema: dict[str, Any] | Schema) -> str:
    """The type of a payload."""
    given = json_schema(schema) if isinstance(schema, Schema) else schema
    return _part(written(MessageType("chat.send", given)), "payload", "6}reply: ")


def received(schema: dict[str, Any] | Schema) -> str:
    """The type of a reply."""
    given = json_schema(schema) if isinstance(schema, Schema) else schema
    text = written(MessageType("chat.send", {"type": "object"}, given))
    return _part(text, "reply", "4}};\n")


def of_field(field: fields.Field[Any]) -> str:
    """The type of one field."""
    (line,) = sent(Schema.from_dict({"a": field})()).splitlines()[1:-1]
    return line.removeprefix("  a?: ").removesuffix(";")


def of(schema: object) -> str:
    """The type of one property by its JSON Schema."""
    made = sent({"type": "object", "properties": {"a": schema}, "required": ["a"]})
    return made.removeprefix("{\n  a: ").removesuffix(";\n}")


def requests(text: str) -> list[str]:
    return re.findall(r'^    "(.*)": \{$', text, re.MULTILINE)


# Fields


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (fields.String(), "string"),
        (fields.String(validate=validate.OneOf(["number", "9"])), '"9" | "number"'),
        (fields.Integer(), "number"),
        (fields.Float(), "number"),
        (fields.Boolean(), "boolean"),
        (fields.Raw(), "unknown"),
        (fields.String(allow_none=True), "string | null"),
        (fields.List(fields.Integer()), "number[]"),
        (fields.List(fields.Integer(allow_none=True)), "(number | null)[]"),
        (fields.List(fields.List(fields.Raw()), allow_none=True), "unknown[][] | null"),
        (fields.Dict(), ANYTHING),
        (fields.Dict(values=fields.List(fields.Integer())), "{ [key: string]: number[] }"),
        (fields.Dict(allow_none=True), f"{ANYTHING} | null"),
        (fields.Enum(Colour), '"GREEN" | "RED"'),
        (fields.Enum(Colour, by_value=True, allow_none=True), '1 | "green" | null'),
        (fields.Integer(validate=validate.OneOf({2, 10, -1})), "-1 | 2 | 10"),
        (fields.String(validate=validate.OneOf({'say "hi"', "a\nb"})), r'"a\nb" | "say \"hi\""'),
        (fields.Integer(validate=validate.OneOf([-1, 0, 10**400])), "-1 | 0 | number"),
        (fields.Float(validate=validate.OneOf([0.1, 2.0, float("inf")])), "0.1 | 2 | number"),
        (fields.Raw(validate=validate.OneOf([True, None])), "true | null"),
        (fields.String(validate=validate.Equal("a")), '"a"'),
        (fields.String(validate=validate.OneOf(Mood)), '"calm"'),
        (fields.List(fields.String(validate=validate.OneOf("ab"))), '("a" | "b")[]'),
        (fields.List(fields.String(), validate=validate.ContainsOnly("ab")), "string[]"),
        (fields.Nested(Author), "Chat.Author"),
        (fields.Nested(Author, allow_none=True), "Chat.Author | null"),
        (fields.Nested(Author, many=True), "Chat.Author[]"),
        (fields.Dict(values=fields.Nested(Author)), "{ [key: string]: Chat.Author }"),
        (fields.Pluck(Author, "name"), "string"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_field_has_the_type_of_its_values(field: fields.Field[Any], expected: str) -> None:
    assert of_field(field) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, "unknown"),
        (False, "never"),
        ({}, "unknown"),
        ({"type": "array"}, "unknown[]"),
        ({"type": ["integer", "string", "number"]}, "number | string"),
        ({"type": "object"}, ANYTHING),
        ({"type": "file"}, "unknown"),
        ({"const": "a"}, '"a"'),
        ({"const": None}, "null"),
        ({"type": "integer", "enum": ["a"]}, "number"),
        ({"type": ["array", "null"], "enum": ["a", None], "items": {}}, "null | unknown[]"),
        ({"enum": []}, "never"),
        ({"enum": [[1], "a"]}, "unknown"),
        ({"anyOf": [{"type": "string"}, {"type": "array", "items": {}}]}, "string | unknown[]"),
        ({"oneOf": [{"type": "string"}, {}]}, "unknown"),
        ({"anyOf": [{"type": "string"}, False]}, "string"),
        ({"oneOf": [{"type": "string"}, {"type": "string"}]}, "string"),
        ({"type": "string", "anyOf": [{"maxLength": 3}, {"minLength": 9}]}, "string"),
        ({"allOf": [{"enum": ["a", "b"]}, {"enum": ["b", "c"]}]}, '(("a" | "b") & ("b" | "c"))'),
        ({"allOf": [{"enum": [1, 2]}, {"description": "x"}]}, "1 | 2"),
        ({"type": "array", "items": {"anyOf": [{"const": 1}, {"const": 2}]}}, "(1 | 2)[]"),
        (
            {"type": "array", "items": {"allOf": [{"type": "string"}, {"const": "a"}]}},
            '(string & "a")[]',
        ),
        ({"type": "object", "allOf": [{}, {"type": "object"}]}, ANYTHING),
        ({"$ref": "https://example.com/schema"}, "unknown"),
        ({"$ref": "#/$defs/Absent"}, "unknown"),
    ],
    ids=str,
)
def test_any_json_schema_has_a_type(schema: object, expected: str) -> None:
    assert of(schema) == expected


# Objects


def test_what_is_not_required_is_optional() -> None:
    assert sent(Author()) == "{\n  name: string;\n  age?: number;\n}"


def test_a_key_that_is_no_identifier_is_quoted() -> None:
    keys = ["$ok", "room-name", "1", "", 'a"b', "é", "\ud800", "a\u2028b"]
    schema = {"properties": dict.fromkeys(keys, True)}
    names = [line.partition("?")[0].strip() for line in sent(schema).splitlines()[1:-1]]
    quoted = ['"room-name"', '"1"', '""', r'"a\"b"', '"é"', r'"\ud800"', r'"a\u2028b"']
    assert names == ["$ok", *quoted]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (NoPayload(), "{ [key: string]: never }"),
        (AnyPayload(), ANYTHING),
        (Author(unknown=INCLUDE, only=["age"]), "{\n  age?: number;\n  [key: string]: unknown;\n}"),
        (Author(unknown=EXCLUDE, only=["age"]), "{\n  age?: number;\n}"),
    ],
    ids=["none", "any", "include", "exclude"],
)
def test_other_keys_are_allowed_where_the_schema_lets_them_pass(
    schema: Schema, expected: str
) -> None:
    assert sent(schema) == expected


def test_a_typed_key_does_not_refuse_the_properties_beside_it() -> None:
    schema = {"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "number"}}
    assert sent(schema) == "{\n  a?: string;\n  [key: string]: unknown;\n}"


def test_each_side_sees_only_what_it_sends_or_gets() -> None:
    class Account(Schema):
        id = fields.Integer(dump_only=True)
        name = fields.String(required=True)
        password = fields.String(load_only=True, required=True)

    assert sent(Account()) == "{\n  name: string;\n  password: string;\n}"
    assert received(Account()) == "{\n  id?: number;\n  name: string;\n}"


# Schemas within schemas


def test_a_schema_that_holds_itself_is_an_interface_that_does() -> None:
    text = written(MessageType("chat.send", json_schema(Tree())))
    assert sent(Tree()) == "{\n  value: number;\n  children?: Chat.Tree[];\n}"
    assert (
        "export declare namespace Chat {\n"
        "  interface Tree {\n"
        "    value: number;\n"
        "    children?: Chat.Tree[];\n"
        "  }\n"
        "}\n"
    ) in text


def test_what_is_the_same_in_several_messages_is_declared_once() -> None:
    one = Schema.from_dict({"author": fields.Nested(Author)})
    many = Schema.from_dict({"authors": fields.List(fields.Nested(Author))})
    text = written(
        MessageType("chat.a", json_schema(one()), json_schema(many())),
        MessageType("chat.b", json_schema(many())),
        topics=(TopicTypes("room", json_schema(one())),),
    )
    assert re.findall("interface (Author.*) {", text) == ["Author"]


def test_what_differs_under_one_name_gets_a_number() -> None:
    other = Schema.from_dict({"title": fields.String()}, name="Author")
    one = Schema.from_dict({"a": fields.Nested(Author), "b": fields.Nested(other)})
    two = Schema.from_dict({"a": fields.Nested(other)})
    text = written(
        MessageType("chat.a", json_schema(one())), MessageType("chat.b", json_schema(two()))
    )
    assert re.findall("interface (Author.*) {", text) == ["Author", "Author2"]
    assert re.findall(r"([ab])\?: Chat\.(\w+);", text) == [
        ("a", "Author"),
        ("b", "Author2"),
        ("a", "Author2"),
    ]


def test_a_schema_within_is_two_where_the_sides_differ() -> None:
    class Account(Schema):
        name = fields.String()
        password = fields.String(load_only=True)

    schema = json_schema(Schema.from_dict({"account": fields.Nested(Account)})())
    text = written(MessageType("chat.a", schema, schema))
    assert re.findall("interface (Account.*) {", text) == ["Account", "Account2"]
    assert text.count("password") == 1


def test_only_what_is_seen_is_declared() -> None:
    hidden = Schema.from_dict({"author": fields.Nested(Author, dump_only=True)})
    assert "namespace" not in written(MessageType("chat.a", json_schema(hidden())))


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [("chat", "Chat"), ("my_plugin", "MyPlugin"), ("a_1", "A_1"), ("a__b", "A_B"), ("new", "New")],
)
def test_a_namespace_is_called_after_its_plugin(plugin: str, expected: str) -> None:
    text = written(MessageType("a.b", json_schema(Tree())), plugin=plugin)
    assert f"export declare namespace {expected} {{" in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [("string", "String"), ("", "Schema"), ("3D", "_3D"), ("a-b c", "A_b_c"), ("É", "_")],
)
def test_any_name_of_a_schema_becomes_one_of_an_interface(name: str, expected: str) -> None:
    schema = {"$defs": {name: {"type": "object"}}, "$ref": f"#/$defs/{name}"}
    assert f"  interface {expected} {ANYTHING}\n" in written(MessageType("a.b", schema))


def test_what_is_referred_to_and_is_no_object_is_a_type() -> None:
    schema = {"$defs": {"Id": {"type": ["integer", "string"]}}, "$ref": "#/$defs/Id"}
    assert "  type Id = number | string;\n" in written(MessageType("a.b", schema))


# Messages


def test_a_message_without_a_declared_reply_may_get_any_object() -> None:
    text = written(MessageType("chat.send", json_schema(NoPayload())))
    assert f"      reply: {ANYTHING};\n" in text


def test_a_stream_has_chunks_and_a_reply_that_may_be_any_object() -> None:
    text = written(
        MessageType("chat.read", json_schema(NoPayload()), json_schema(Author()), streams=True)
    )
    assert "      chunk: {\n        name: string;\n        age?: number;\n      };\n" in text
    assert f"      reply: {ANYTHING};\n" in text


def test_the_order_is_that_of_the_names_however_they_are_given() -> None:
    payload = json_schema(
        Schema.from_dict({"a": fields.Nested(Author), "t": fields.Nested(Tree)})()
    )
    plugins = [
        PluginTypes(
            name,
            [MessageType(f"{name}.{word}", payload) for word in "yx"],
            [TopicTypes(f"{name}:{{x}}", payload)],
        )
        for name in ("zoo", "bar", "my_plugin")
    ]
    texts = {typescript(order) for order in permutations(plugins)}
    (text,) = texts
    assert requests(text) == sorted(f"{plugin.name}.{word}" for plugin in plugins for word in "xy")
    turned = [PluginTypes(each.name, each.messages[::-1], each.topics) for each in plugins]
    assert typescript(turned) == text


def test_it_says_first_what_wrote_it() -> None:
    assert "`jackfield types --typescript`" in written().splitlines()[0]


# Comments


def test_documentation_becomes_comments() -> None:
    class Send(Schema):
        room = fields.String(metadata={"description": "Where."})
        at = fields.DateTime(metadata={"description": "When.\nIn UTC.", "deprecated": True})

    text = written(
        MessageType("chat.send", json_schema(Send()), doc="Say it.\n\nAloud.", scopes=["a", "b"])
    )
    assert text.endswith(
        """\
    /**
     * Say it.
     *
     * Aloud.
     *
     * Scopes: a, b.
     */
    "chat.send": {
      payload: {
        /** Where. */
        room?: string;
        /**
         * When.
         * In UTC.
         *
         * @format date-time
         * @deprecated
         */
        at?: string;
      };
      reply: { [key: string]: unknown };
    };
  }

  interface Topics {}
}
"""
    )


@pytest.mark.parametrize("text", ["*/ evil", "a\n*/\nb", "x\r\n*/", "/** a */", "a\u2028*/", "**/"])
def test_no_comment_ends_early(text: str, tmp_path: Path) -> None:
    schema = {"properties": {"a": {"description": text, "format": text}}}
    made = written(MessageType("a.b", schema, doc=text))
    assert made.count("*/") == 2
    assert compile_alone(tmp_path, made) == []


def test_what_is_no_text_in_a_comment_is_replaced() -> None:
    text = written(MessageType("a.b", {}, doc="\x1b[31mred\ud800"))
    assert "/** \N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER} */" in text
    assert text.encode()


# Topics


def event(name: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {}}, "additionalProperties": False}


def topics(*patterns: str) -> dict[str, str]:
    """The type of each pattern's events, whose event is called like it."""
    made = written(
        topics=tuple(
            TopicTypes(
                pattern,
                {"$ref": f"#/$defs/E{n}", "$defs": {f"E{n}": event(f"e{n}")}},
            )
            for n, pattern in enumerate(patterns)
        )
    )
    inside = made.partition("interface Topics {")[2]
    return dict(re.findall(r"^    (\S.*): (.*);$", inside.replace("Chat.", ""), re.MULTILINE))


def test_the_names_of_topics_are_template_literals() -> None:
    assert topics("broadcast", "app.news", "room:{name}", "user:{id*}", "a:{b}:c:{d}") == {
        "broadcast": "E0",
        '"app.news"': "E1",
        "[topic: `room:${string}`]": "E2",
        "[topic: `user:${string}`]": "E3",
        "[topic: `a:${string}:c:${string}`]": "E4",
    }


def test_a_pattern_that_takes_in_the_names_of_another_has_its_events_too() -> None:
    assert topics("room:{name}", "room:{name}:log", "room:a:b", "other:{name}") == {
        "[topic: `room:${string}`]": "E0 | E2 | E1",
        "[topic: `room:${string}:log`]": "E1",
        '"room:a:b"': "E2",
        "[topic: `other:${string}`]": "E3",
    }


def test_patterns_that_share_some_names_have_both_events() -> None:
    assert topics("a:{x}:b", "a:c:d:{y}") == {
        "[topic: `a:${string}:b`]": "E0 | E1",
        "[topic: `a:c:d:${string}`]": "E1 | E0",
    }


# By the compiler


def _described(made: Made) -> dict[str, Any] | None:
    try:
        return json_schema(made.schema())
    except (AttributeError, TypeError, ValueError, ArithmeticError):
        return None  # apispec can't tell its defaults, as they are none that it could have


@st.composite
def plugins(draw: st.DrawFn) -> list[PluginTypes]:
    """Plugins with messages of arbitrary schemas."""

    def some() -> dict[str, Any]:
        described = schemas().map(_described).filter(lambda schema: schema is not None)
        return cast(dict[str, Any], draw(described))

    made = []
    for name in draw(st.lists(st.sampled_from(["a", "b_c", "new"]), min_size=1, unique=True)):
        messages = [
            MessageType(
                f"{name}.m{n}", some(), some(), streams=draw(st.booleans()), doc=draw(st.text())
            )
            for n in range(5)
        ]
        made.append(PluginTypes(name, messages, [TopicTypes(f"{name}:{{x}}", some())]))
    return made


@pytest.mark.filterwarnings("ignore:More than one regex validator")  # apispec takes the first
@settings(max_examples=15, phases=[Phase.generate])  # the compiler tells which schema it is
@given(plugins=plugins())
def test_whatever_the_schemas_the_compiler_takes_it(plugins: list[PluginTypes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        text = typescript(plugins)
        assert len(requests(text)) == 5 * len(plugins)
        assert compile_alone(Path(directory), text) == []


def _together(patterns: list[str]) -> Iterator[str]:
    """Those of the patterns that one server may have: no name is of two."""
    kept: list[Pattern] = []
    for text in patterns:
        try:
            pattern = Pattern(text)
        except RegistrationError:
            continue
        if not any(pattern.overlaps(other) for other in kept):
            kept.append(pattern)
            yield text


_segments = st.sampled_from(["a", "b", "{x}", "{y}", "{z*}"])


@settings(max_examples=25)
@given(
    patterns=st.lists(
        st.lists(_segments, max_size=4).map(lambda rest: ":".join(["a", *rest])), max_size=12
    )
)
def test_whatever_the_topics_a_name_has_the_event_of_its_pattern(patterns: list[str]) -> None:
    kept = list(_together(patterns))
    text = written(topics=tuple(TopicTypes(each, event(f"e{n}")) for n, each in enumerate(kept)))
    names = [re.sub(r"\{\w\*?\}", "n", each) for each in kept]
    uses = "".join(
        f"export const of{n}: Topics[{name!r}] = {{ e{n}: 1 }};\n" for n, name in enumerate(names)
    )
    uses = 'import type { Topics } from "jackfield";\nimport "./messages.js";\n' + uses
    with tempfile.TemporaryDirectory() as directory:
        assert compile_alone(Path(directory), text, uses=uses) == []


def test_what_is_wrong_in_a_payload_is_an_error_of_the_compiler(tmp_path: Path) -> None:
    class Send(Schema):
        room = fields.String(required=True)
        mood = fields.String(validate=validate.OneOf(["calm", "angry"]), allow_none=True)
        at = fields.DateTime()
        tree = fields.Nested(Tree)

    text = written(MessageType("chat.send", json_schema(Send())))
    right = ['{ room: "a" }', '{ room: "a", mood: null, tree: { value: 1, children: [] } }']
    wrong = [
        "{}",
        "{ room: 1 }",
        '{ room: "a", rom: "b" }',
        '{ room: "a", mood: "sad" }',
        '{ room: "a", at: 5 }',
        '{ room: "a", tree: { value: 1, children: [{ value: "2" }] } }',
    ]
    head = 'import type { Requests } from "jackfield";\nimport "./messages.js";\n'
    uses = head + "".join(
        f'export const v{n}: Requests["chat.send"]["payload"] = {value};\n'
        for n, value in enumerate([*right, *wrong])
    )
    said = [line for line in compile_alone(tmp_path, text, uses=uses) if line[0] != " "]
    lines = [int(found[1]) for line in said if (found := re.match(r"uses\.ts\((\d+),", line))]
    assert lines == list(range(3 + len(right), 3 + len(right) + len(wrong)))
