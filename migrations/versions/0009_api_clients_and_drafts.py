"""Programs of other parties than BRPs, and drafts of dispatches in a table of their own."""

import sqlalchemy as sa
from alembic import op

from migrations import columns

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_SELECTION = sa.table(
    "selection",
    sa.column("id", sa.String),
    sa.column("inputs", columns.JSON),
    sa.column("created_at", columns.UTC_TIME),
)
_DRAFT = sa.table(
    "dispatch_draft",
    sa.column("id", sa.String),
    sa.column("selection_id", sa.String),
    sa.column("pool_order", columns.JSON),
    sa.column("figures", columns.JSON),
    sa.column("created_by", sa.Text),
    sa.column("created_at", columns.UTC_TIME),
)


def upgrade() -> None:
    """Bring the schema here. There is no way back but a backup."""
    _rename("brp_client", "api_client")
    op.create_table(
        "dispatch_draft",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("selection_id", sa.String(length=80), nullable=False),
        sa.Column("pool_order", columns.JSON, nullable=False, comment="aggregator.trade.dispatch_drafts.PoolOrder"),
        sa.Column("figures", columns.JSON, nullable=False, comment="aggregator.trade.dispatch_drafts.DraftFigures"),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", columns.UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["selection_id"],
            ["selection.id"],
            name=op.f("fk_dispatch_draft_selection_id_selection"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispatch_draft")),
    )
    op.create_index(op.f("ix_dispatch_draft_selection_id"), "dispatch_draft", ["selection_id"], unique=True)
    _part_drafts()


def downgrade() -> None:
    """Take the schema back: the rows of an older backup are filled in there, and nothing is in it yet."""
    op.drop_table("dispatch_draft")
    _rename("api_client", "brp_client")


def _rename(old: str, new: str) -> None:
    """Copy, so that keys and indexes have the names that a fresh database gives them, SQLite's too."""
    op.create_table(
        new,
        sa.Column("id", sa.String(length=80), nullable=False, comment="the OAuth2 client_id"),
        sa.Column("party_id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", columns.JSON, nullable=False),
        sa.Column(
            "certificate",
            sa.String(length=64),
            nullable=True,
            comment="x5t#S256 of the certificate that tokens are bound to, or null",
        ),
        sa.Column("created_at", columns.UTC_TIME, nullable=False, comment="machine time"),
        sa.Column("revoked_at", columns.UTC_TIME, nullable=True, comment="machine time"),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name=op.f(f"fk_{new}_party_id_party")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{new}")),
    )
    names = ("id", "party_id", "name", "secret_hash", "scopes", "certificate", "created_at", "revoked_at")
    source, target = (sa.table(table, *(sa.column(name) for name in names)) for table in (old, new))
    op.execute(sa.insert(target).from_select(list(names), sa.select(*source.c)))
    op.drop_table(old)
    op.create_index(op.f(f"ix_{new}_party_id"), new, ["party_id"], unique=False)


def _part_drafts() -> None:
    """Take what a draft says out of its selection. A draft keeps the id that links to it have."""
    connection = op.get_bind()
    drafts = sa.select(_SELECTION).where(_SELECTION.c.id.startswith("drf_", autoescape=True))
    for row in connection.execute(drafts).all():
        draft = row.inputs.get("draft")
        if draft:
            connection.execute(
                sa.insert(_DRAFT).values(
                    id=row.id,
                    selection_id=row.id,
                    pool_order=draft["wish"],
                    figures=draft["figures"],
                    created_by=draft["who"],
                    created_at=row.created_at,
                )
            )
        inputs = {name: value for name, value in row.inputs.items() if name != "draft"}
        connection.execute(sa.update(_SELECTION).where(_SELECTION.c.id == row.id).values(inputs=inputs))
