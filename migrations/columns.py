"""The column types of migrations, frozen."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

UTC_TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
