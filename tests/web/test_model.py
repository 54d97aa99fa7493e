"""What the base model writes into documents."""

from pydantic import Field, TypeAdapter

from web.model import Model, SchemaWriter


class Pot(Model):
    """A vessel."""

    lid: bool
    """Whether it can be
    closed."""
    name: str = Field(description="What it is called.")
    """For readers of the code alone."""
    size_: int = Field(alias="size")
    """How much goes in, ml."""
    bare: str


class Kettle(Pot):
    """A pot with a spout."""

    inner: Pot | None = None
    """What stands in it."""
    lid: bool = True


def described(of):
    schema = TypeAdapter(of).json_schema(schema_generator=SchemaWriter)
    return {name: one.get("description") for name, one in schema["properties"].items()}


def test_docstrings_below_fields_describe_them():
    told = {
        "lid": "Whether it can be\nclosed.",
        "name": "What it is called.",
        "size": "How much goes in, ml.",
        "bare": None,
    }
    assert described(Pot) == told
    assert described(Kettle) == told | {"inner": "What stands in it."}


def test_a_model_in_a_function_is_described():
    class Cup(Model):
        handle: bool
        """Where the hand goes."""

    assert described(Cup) == {"handle": "Where the hand goes."}
