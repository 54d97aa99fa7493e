"""Where upgrades begin: nobody ever had an older schema than this one, and new databases get today's at once."""

revision = "0002"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    raise NotImplementedError("an empty database is filled by migrations.fresh")
