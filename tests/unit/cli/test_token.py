"""`jackfield token`: tokens to develop with, and a look into any, without a secret printed."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jackfield.cli import main
from tests.support.tokens import SECRET, jwt_section, private_pem, public_pem, token

Run = Callable[..., Result]


def write_config(path: Path, **section: Any) -> Path:
    file = path / "jackfield.toml"
    lines = [f"{name} = {json.dumps(value)}" for name, value in section.items()]
    file.write_text("\n".join(["[auth.jwt]", *lines]))
    return file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, **jwt_section(tmp_path))


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A configuration with a public key."""
    file = tmp_path / "public.pem"
    file.write_text(public_pem("P-256"))
    section = jwt_section(
        tmp_path, algorithms=["ES256"], secret_file=None, public_key_file=str(file)
    )
    return write_config(tmp_path, **section)


@pytest.fixture
def run() -> Run:
    def run(*args: object, **options: Any) -> Result:
        return CliRunner().invoke(main, ["token", *map(str, args)], **options)

    return run


def test_a_minted_token_is_one_that_inspect_finds_valid(run: Run, config: Path) -> None:
    minted = run("mint", "-c", config, "--user", "alice", "--scope", "chat", "--scope", "admin")
    assert minted.exit_code == 0
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", minted.stdout)

    shown = run("inspect", "-c", config, input=minted.stdout)
    assert shown.exit_code == 0
    said = json.loads(shown.stdout.splitlines()[0])
    assert said["header"]["alg"] == "HS256"
    assert said["claims"]["sub"] == "alice"
    assert said["claims"]["scope"] == "chat admin"
    assert 3500 < said["claims"]["exp"] - time.time() <= 3600
    assert "The token is valid: user alice, scopes admin chat." in shown.stdout


def test_a_token_is_signed_with_a_private_key_where_the_server_has_the_public_one(
    run: Run, public: Path, tmp_path: Path
) -> None:
    key = tmp_path / "private.pem"
    key.write_text(private_pem("P-256"))
    minted = run("mint", "-c", public, "--user", "a", "--key", key, "--kid", "k", "--expires", "1d")
    assert minted.exit_code == 0, minted.stderr
    assert run("inspect", "-c", public, input=minted.stdout).exit_code == 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [("P-384", "not a private key for ES256"), ("RSA", "not a private key for ES256")],
)
def test_a_private_key_that_does_not_fit_is_refused_without_being_shown(
    run: Run, public: Path, tmp_path: Path, kind: str, words: str
) -> None:
    key = tmp_path / "private.pem"
    key.write_text(private_pem(kind))
    result = run("mint", "-c", public, "--user", "alice", "--key", key)
    assert result.exit_code == 1
    assert words in result.stderr
    assert key.read_text().splitlines()[1] not in result.output


def test_a_token_that_the_server_would_not_take_is_not_printed(
    run: Run, public: Path, tmp_path: Path
) -> None:
    (tmp_path / "public.pem").write_text(public_pem("P-256"))
    key = tmp_path / "other.pem"
    key.write_text(private_pem("Ed25519"))
    section = jwt_section(
        tmp_path, algorithms=["EdDSA"], secret_file=None, public_key_file=str(tmp_path / "ed.pem")
    )
    (tmp_path / "ed.pem").write_text(
        "-----BEGIN PUBLIC KEY-----\n"
        "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
        "-----END PUBLIC KEY-----\n"
    )
    result = run("mint", "-c", write_config(tmp_path, **section), "--user", "a", "--key", key)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Its signature is wrong" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--user", "alice", "--expires", "soon"], 2, "is not a duration"),
        (["--user", "alice", "--algorithm", "none"], 2, "none is not among auth.jwt.algorithms"),
        ([], 2, "Missing option '--user'"),
        (["--user", "a\nb"], 1, "printable characters"),
    ],
)
def test_wrong_usage_is_told(
    run: Run, config: Path, args: list[str], code: int, words: str
) -> None:
    result = run("mint", "-c", config, *args)
    assert result.exit_code == code
    assert words in result.stderr
    assert SECRET not in result.output


def test_a_key_is_wanted_where_there_is_only_the_public_one_and_not_elsewhere(
    run: Run, config: Path, tmp_path: Path
) -> None:
    key = tmp_path / "private.pem"
    key.write_text(private_pem("P-256"))
    result = run("mint", "-c", config, "--user", "alice", "--key", key)
    assert (result.exit_code, "[auth.jwt] has a secret" in result.stderr) == (2, True)
    (tmp_path / "public.pem").write_text(public_pem("P-256"))
    section = jwt_section(tmp_path, algorithms=["ES256"], secret_file=None)
    file = write_config(tmp_path, **section, public_key_file=str(tmp_path / "public.pem"))
    result = run("mint", "-c", file, "--user", "alice")
    assert (result.exit_code, "name the private one" in result.stderr) == (2, True)


def test_without_a_section_nothing_is_minted_and_what_is_shown_is_not_verified(run: Run) -> None:
    result = run("mint", "--user", "alice")
    assert result.exit_code == 1
    assert "no section [auth.jwt]" in result.stderr
    result = run("inspect", input=token())
    assert result.exit_code == 1
    assert '"sub":"alice"' in result.stdout.replace(" ", "")
    assert "Not verified" in result.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (token(exp=1), "The token has expired."),
        (token(aud="others"), "It is for another audience."),
        (token("x" * 64), "Its signature is wrong."),
        (token(headers={"crit": ["x"], "x": 1}), "It has a critical extension"),
    ],
)
def test_why_a_token_is_not_valid_is_told_and_its_signature_is_not(
    run: Run, config: Path, text: str, words: str
) -> None:
    result = run("inspect", "-c", config, input=f"Bearer {text}\n")
    assert result.exit_code == 1
    assert words in result.stdout
    assert text.rpartition(".")[2] not in result.output
    assert SECRET not in result.output


def test_a_token_may_be_in_a_variable(run: Run, config: Path) -> None:
    options = ("inspect", "-c", config, "--token-env", "TOKEN")
    assert run(*options, env={"TOKEN": token()}).exit_code == 0
    assert run(*options, env={"TOKEN": None}).exit_code == 2


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "....", "W10.W10.W10", "é.é.é"])
def test_what_is_no_token_is_told_to_be_none(run: Run, text: str) -> None:
    result = run("inspect", input=text)
    assert result.exit_code == 1
    assert result.stderr == "This is not a JSON Web Token.\n"
