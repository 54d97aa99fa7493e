"""Clients that public generators make of our OpenAPI documents, in a directory that holds both documents."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aggregator.brp_api import brp_api
from evenload.aggregator_app import with_market
from evenload.server import operator_api

_PYTHON_GENERATOR = "openapi-python-client==0.29.1"
_NODE_TOOLS = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3")
_OPTIONAL = ("--default-non-nullable", "false")
"""What has a default may be left out of what is sent."""
_STRICT = ("--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable")
_NODE_GLOBALS = "declare const process: { env: Record<string, string | undefined>; argv: string[] };\n"
_NAMES = ("operator", "brp")
_BINARY = {"application/pdf": "application/octet-stream"}
"""The generator has to be told what is binary."""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command that must not fail, and return all that it says."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=cwd, env=clean | environment, timeout=300
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def write_documents(directory: Path) -> None:
    """Write both documents."""
    for name, api in zip(_NAMES, (with_market(operator_api()), brp_api()), strict=True):
        (directory / f"{name}.json").write_text(json.dumps(api.document()))


def python_clients(directory: Path) -> Path:
    """Generate and compile both clients, from which nothing may be missing; return the interpreter to use them with."""
    environment = directory / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=directory)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", environment)
    run(*pip, "install", "-q", _PYTHON_GENERATOR, cwd=directory)
    path = f"{environment}/bin:{os.environ['PATH']}"
    (directory / "config.json").write_text(json.dumps({"content_type_overrides": _BINARY}))
    for name in _NAMES:
        told = run(
            environment / "bin" / "openapi-python-client", "generate", "--meta", "none", "--path", f"{name}.json",
            "--output-path", f"evenload_{name}_api_client", "--config", "config.json", cwd=directory, PATH=path,
        )  # fmt: skip
        lost = [line for line in told.splitlines() if line.startswith(("WARNING", "Unable")) and "ca.pem" not in line]
        assert not lost, told
        run(environment / "bin" / "python", "-m", "compileall", "-q", f"evenload_{name}_api_client", cwd=directory)
    return environment / "bin" / "python"


def need_node() -> None:
    """Skip, or on a build server fail, without Node.js."""
    if shutil.which("npm") is None:
        hint = "These clients need Node.js and npm; install them with your package manager."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(hint)


def typescript_clients(directory: Path, script: str) -> None:
    """Generate the types of both documents, and compile `script`.ts against them, strictly."""
    (directory / "package.json").write_text('{"private": true, "type": "module"}')
    run("npm", "install", "--silent", "--no-fund", "--no-audit", *_NODE_TOOLS, cwd=directory)
    tools = directory / "node_modules" / ".bin"
    for name in _NAMES:
        run(tools / "openapi-typescript", f"{name}.json", "-o", f"{name}.d.ts", *_OPTIONAL, cwd=directory)
    (directory / "node.d.ts").write_text(_NODE_GLOBALS)
    run(tools / "tsc", *_STRICT, f"{script}.ts", "node.d.ts", "brp.d.ts", cwd=directory)
