import json
import stat

import pytest
from typer.testing import CliRunner

from certs.authority import Authority
from certs.cli import app
from certs.keys import new_key, new_request

RUNNER = CliRunner()


@pytest.fixture
def run(tmp_path):
    """Run a command in the authority `tmp_path/ca`; returns the JSON, or the error text for exit code 1."""

    def call(command, *arguments, fails=False):
        if command != "fingerprint":
            arguments = ("--ca", str(tmp_path / "ca"), *arguments)
        result = RUNNER.invoke(app, [command, *map(str, arguments), "--json"])
        if fails:
            assert result.exit_code == 1
            assert result.stdout == ""
            assert "Traceback" not in result.stderr
            return result.stderr
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return call


def test_the_life_of_a_certificate(tmp_path, run):
    assert run("init", "--name", "Test CA")["ca"] == str(tmp_path / "ca/ca.pem")
    server = run("issue", "localhost", "127.0.0.1", "--kind", "server", "--out", tmp_path / "vtn", "--key-type", "rsa")
    assert sorted(path.name for path in (tmp_path / "vtn").iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    assert stat.S_IMODE((tmp_path / "vtn/key.pem").stat().st_mode) == 0o600
    assert run("fingerprint", tmp_path / "vtn/cert.pem")["fingerprint"] == server["fingerprint"]

    csr = tmp_path / "home.csr"
    csr.write_text(new_request(new_key(), "whoever"))
    client = run("issue", "home-1", "--kind", "client", "--request", csr, "--out", tmp_path / "home", "--days", 20)
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["ca.pem", "cert.pem"]
    assert (client["name"], client["kind"], client["state"]) == ("home-1", "client", "valid")

    assert [one["fingerprint"] for one in run("list", "--expiring", 30)] == [client["fingerprint"]]
    renewed = run("renew", client["serial"], "--out", tmp_path / "home2", "--days", 400)
    assert renewed["name"] == "home-1"
    assert run("revoke", client["fingerprint"], "--reason", "superseded")["state"] == "revoked"
    assert [one["state"] for one in run("list")] == ["valid", "revoked", "valid"]
    assert run("list", "--expiring", 30) == []


def test_text_for_people(tmp_path):
    ca = ["--ca", str(tmp_path / "ca")]
    assert "valid until" in RUNNER.invoke(app, ["init", *ca]).stdout
    assert RUNNER.invoke(app, ["list", *ca]).stdout == "No certificates.\n"
    made = RUNNER.invoke(app, ["issue", "home-1", "--kind", "client", "--out", str(tmp_path / "home"), *ca]).stdout
    record = Authority.load(tmp_path / "ca").issued()[0]
    assert made == RUNNER.invoke(app, ["list", *ca]).stdout
    assert made.startswith(record.fingerprint)
    assert made.endswith("home-1\n")
    shown = RUNNER.invoke(app, ["fingerprint", str(tmp_path / "home/cert.pem")]).stdout
    assert shown == record.fingerprint + "\n"


def test_the_authority_may_come_from_the_environment(tmp_path):
    env = {"EVENLOAD_AUTHORITY": str(tmp_path / "ca")}
    assert RUNNER.invoke(app, ["init"], env=env).exit_code == 0
    assert (tmp_path / "ca" / "ca-key.pem").exists()


def test_errors_say_what_to_do(tmp_path, run):
    out = ("--out", tmp_path / "home")
    assert "certs init" in run("list", fails=True)
    run("init")
    assert "not empty" in run("init", fails=True)
    assert "one name" in run("issue", "a", "b", "--kind", "client", *out, fails=True)
    assert "neither a DNS name" in run("issue", "a b", "--kind", "server", "--out", tmp_path / "s", fails=True)
    assert "missing" in run("issue", "a", "--kind", "client", "--request", tmp_path / "none", *out, fails=True)
    assert "for clients" in run("issue", "a", "--kind", "server", "--request", tmp_path / "none", *out, fails=True)
    assert "certs list" in run("revoke", "00:11", fails=True)
    assert "certs list" in run("renew", "00:11", *out, fails=True)
    assert "no PEM certificate" in run("fingerprint", tmp_path / "ca/ca-key.pem", fails=True)
    assert "missing" in run("fingerprint", tmp_path / "none", fails=True)


def test_files_in_the_way_are_never_overwritten(tmp_path, run):
    run("init")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/key.pem").write_text("precious")
    message = run("issue", "home-1", "--kind", "client", "--out", tmp_path / "home", fails=True)
    assert "nothing is overwritten" in message
    assert (tmp_path / "home/key.pem").read_text() == "precious"
    assert run("list") == []


def test_wrong_options_are_explained():
    result = RUNNER.invoke(app, ["issue", "x", "--kind", "toaster", "--out", "x"])
    assert result.exit_code == 2
    assert "toaster" in result.stderr
