"""Series are data points: what a report description says. What settlement uses; what a site's connection carries.

Rows that are there get the description of the one data point that their VEN offers for them, so that they go on. Where
several data points were written into one series nobody can tell its values apart: it is kept under the name "mixed",
which no rule settles. What no offer explains (meter files, what was typed in) is the plain usage of its resource.
"""

import json
import re
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa
from alembic import op

from migrations import columns, views_3

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NEW = ("point", "r_id", "report_type", "reading_type", "sources", "subject", "flow", "phase", "ambiguous")
_CRITERIA = ("ven_ids", "resource_ids", "group_ids", "group_names", "party_ids", "device_classes", "other")
_QUANTITIES = {
    "powerReal": "power_real",
    "powerReactive": "power_reactive",
    "powerApparent": "power_apparent",
    "energyReal": "energy_real",
    "energyReactive": "energy_reactive",
    "energyApparent": "energy_apparent",
    "voltage": "voltage",
    "current": "current",
    "frequency": "frequency",
    "temperature": "temperature",
    "pulseCount": "pulses",
}
_STATES = ("online", "override")
_EXPORT = re.compile(r"(?<![a-z])(exp|exported|export|feedin|generation|production)(?![a-z])", re.IGNORECASE)


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    op.execute("DROP VIEW IF EXISTS reading")  # a schema that was taken back has none
    text, name = sa.Text(), sa.String(length=8)
    with op.batch_alter_table("series") as batch:
        batch.add_column(
            sa.Column("point", sa.String(length=32), comment="vtn.store.data_point.digest of the description")
        )
        batch.add_column(sa.Column("r_id", text))
        batch.add_column(sa.Column("report_type", text))
        batch.add_column(sa.Column("reading_type", text))
        batch.add_column(
            sa.Column("sources", columns.JSON, comment="openadr.model.target.Target: all reportDataSources")
        )
        batch.add_column(sa.Column("subject", columns.JSON, comment="openadr.model.target.Target: the reportSubject"))
        batch.add_column(sa.Column("flow", name, comment="import | export | net"))
        batch.add_column(sa.Column("phase", name, comment="total | l1 | l2 | l3"))
        batch.add_column(
            sa.Column("ambiguous", sa.Boolean(), comment="another data point of its report differs by its rID alone")
        )
    _describe(op.get_bind())
    with op.batch_alter_table("series") as batch:
        for column in _NEW:
            batch.alter_column(column, nullable=False)
        batch.drop_constraint(op.f("uq_series_ven_id_resource_id_quantity_kind_source"), type_="unique")
        batch.create_unique_constraint(
            op.f("uq_series_ven_id_point_quantity_kind_source"), ["ven_id", "point", "quantity", "kind", "source"]
        )
    op.create_table(
        "settlement_choice",
        sa.Column("ven_id", sa.String(length=80), nullable=False),
        sa.Column("series_id", columns.SERIAL, nullable=False),
        sa.Column("chosen_at", columns.UTC_TIME, nullable=False),
        sa.Column("chosen_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name=op.f("fk_settlement_choice_series_id_series"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["ven_id"], ["ven.id"], name=op.f("fk_settlement_choice_ven_id_ven"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("ven_id", "series_id", name=op.f("pk_settlement_choice")),
    )
    op.add_column(
        "site",
        sa.Column("connection_w", sa.Integer(), comment="what fuses or the contract let through, W; null: not known"),
    )
    op.execute(views_3.READING_3[op.get_bind().dialect.name])


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.execute("DROP VIEW reading")
    op.drop_column("site", "connection_w")
    op.drop_table("settlement_choice")
    with op.batch_alter_table("series") as batch:
        batch.drop_constraint(op.f("uq_series_ven_id_point_quantity_kind_source"), type_="unique")
        batch.create_unique_constraint(
            op.f("uq_series_ven_id_resource_id_quantity_kind_source"),
            ["ven_id", "resource_id", "quantity", "kind", "source"],
        )
        for column in _NEW:
            batch.drop_column(column)


def _describe(bind: sa.Connection) -> None:
    """Write into every series what its VEN says of it now."""
    series = sa.table(
        "series",
        *(sa.column(name) for name in ("id", "ven_id", "resource_id", "quantity", "point", "r_id", "report_type")),
        *(sa.column(name) for name in ("reading_type", "flow", "phase")),
        sa.column("sources", columns.JSON),
        sa.column("subject", columns.JSON),
        sa.column("ambiguous", sa.Boolean()),
    )
    offer = sa.table("report_offer", sa.column("ven_id"), sa.column("offer", columns.JSON))
    rows = bind.execute(sa.select(series.c.id, series.c.ven_id, series.c.resource_id, series.c.quantity)).all()
    ven_id, offered = None, {}
    for row in sorted(rows, key=lambda row: row.ven_id):
        if row.ven_id != ven_id:
            ven_id = row.ven_id
            offers = bind.execute(sa.select(offer.c.offer).where(offer.c.ven_id == ven_id)).scalars()
            offered = _points(offers)
        points = offered.get((row.resource_id, row.quantity), {})
        said = next(iter(points.values())) if len(points) == 1 else _unsaid(row.resource_id, mixed=bool(points))
        bind.execute(sa.update(series).where(series.c.id == row.id).values(**said))


def _points(offers: Any) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Return (resource, quantity), as rows were named until now -> digest -> columns."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for line in (line for offer in offers for line in offer["descriptions"]):
        base = line["item_base"] or {}
        quantity = _QUANTITIES.get(base.get("name", ""))
        names = (quantity,) if quantity else (line["r_id"], *_STATES)
        odd = base and (quantity is None or base["pulse_factor"] is not None)
        unit = [base["name"], base["description"], base["units"], base["pulse_factor"]] if odd else None
        said = _columns(line["r_id"], line["report_type"], line["reading_type"], line["source"], line["subject"], unit)
        resource_id = next(iter(line["source"]["resource_ids"]), line["r_id"])
        for name in names:
            found.setdefault((resource_id, name), {})[said["point"]] = said
    return found


def _unsaid(resource_id: str, *, mixed: bool) -> dict[str, Any]:
    nothing: dict[str, Any] = {name: [] for name in _CRITERIA}
    if mixed:
        return _columns(resource_id, "mixed", "mixed", nothing | {"resource_ids": [resource_id]}, nothing, None)
    return _columns(resource_id, "usage", "Direct Read", nothing | {"resource_ids": [resource_id]}, nothing, None)


def _columns(
    r_id: str, report_type: str, reading_type: str, sources: Any, subject: Any, unit: list[Any] | None
) -> dict[str, Any]:
    said = [r_id, report_type, reading_type, _criteria(sources), _criteria(subject), unit]
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return {
        "point": blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest(),
        "r_id": r_id,
        "report_type": report_type,
        "reading_type": reading_type,
        "sources": sources,
        "subject": subject,
        "flow": "export" if _EXPORT.search(r_id) else "net" if reading_type == "Net" else "import",
        "phase": "total",
        "ambiguous": False,
    }


def _criteria(target: Any) -> list[Any]:
    return [[name, sorted(target[name])] for name in _CRITERIA if target[name]]
