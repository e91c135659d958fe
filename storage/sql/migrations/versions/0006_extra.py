"""Fields of a message that are the provider's own, such as its reasoning."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("message", sa.Column("extra", sa.Text(), nullable=True))
