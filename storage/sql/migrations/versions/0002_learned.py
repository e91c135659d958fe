"""What runs teach: how often samples are right, what verifiers let pass, lessons; where votes came from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("attempt", sa.Column("source", sa.Text()))
    op.add_column("verdict", sa.Column("nats", sa.Double()))
    _counts(
        "sampling",
        ("step_class", "policy", "source"),
        ("prompts", "right", "wrong", "pairs", "again", "same", "thrice"),
    )
    _counts(
        "checking",
        ("step_class", "verifier", "version", "origin"),
        ("good_passed", "good_failed", "bad_passed", "bad_failed"),
    )
    _counts("lesson", ("step_class", "text"), ("right", "wrong", "plain_right", "plain_wrong"))


def _counts(table: str, key: tuple[str, ...], counts: tuple[str, ...]) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in key),
        *(sa.Column(name, sa.Double(), nullable=False) for name in counts),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(*key),
    )
