"""Verifiers are also measured after what others said of the same candidates; lessons are measured as ways to ask."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

KEY = ("step_class", "verifier", "version", "origin", "after")
COUNTS = ("good_passed", "good_failed", "bad_passed", "bad_failed")


def upgrade() -> None:
    op.rename_table("checking", "checking_alone")
    op.create_table(
        "checking",
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in KEY[:-1]),
        *(sa.Column(name, sa.Double(), nullable=False) for name in COUNTS),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="checking_after_pkey"),
        sa.UniqueConstraint(*KEY, name="checking_after_key"),
    )
    kept = ", ".join((*KEY[:-1], *COUNTS))
    op.execute(f"INSERT INTO checking ({kept}, after, updated_at) SELECT {kept}, '', updated_at FROM checking_alone")
    op.drop_table("checking_alone")
    op.drop_table("lesson")  # nothing was ever written to it
    op.create_table(
        "lesson",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("step_class", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("seen", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("step_class", "text"),
    )
