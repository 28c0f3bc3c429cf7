"""`config/jackfield.toml` tells the truth: every key, with its default, and no other."""

import re
import tomllib

from jackfield.auth.jwt import JwtSchema
from jackfield.config import SCHEMAS, load_settings
from tests.support.paths import ROOT

EXAMPLE = ROOT / "config/jackfield.toml"


def test_the_example_has_every_key_and_no_other() -> None:
    text = EXAMPLE.read_text("utf-8")
    uncommented = re.sub(r"(?m)^# (?=[a-z_]+ = |\[[a-z.]+\]$)", "", text)
    stands = tomllib.loads(uncommented)
    # Only a plugin's section is there for show.
    del stands["plugins"]["greeter"]
    assert set(stands["auth"].pop("jwt")) == set(JwtSchema().fields)

    assert {name: set(table) for name, table in stands.items()} == {
        name: set(schema.fields) for name, schema in SCHEMAS.items()
    }


def test_the_example_gives_every_key_its_default() -> None:
    live = tomllib.loads(EXAMPLE.read_text("utf-8"))
    for name, schema in SCHEMAS.items():
        defaults = schema.load({})
        assert schema.load(live[name]) == defaults
        # What has no value by default is what stands behind a "#".
        assert set(live[name]) == {key for key, value in defaults.items() if value is not None}

    assert load_settings(EXAMPLE, {}) == load_settings(None, {})


def test_the_example_explains_every_key() -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    keys = [index for index, line in enumerate(lines) if re.match(r"[a-z_]+ = ", line)]

    assert [lines[index] for index in keys if not lines[index - 1].startswith("# ")] == []
