"""What a schema is made of, as Postgres itself tells it: equal lists, equal schemas."""

# asyncpg says nothing of its types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncpg

CATALOG = {
    "columns": """
        SELECT concat_ws(' ', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
          CASE WHEN a.attnotnull THEN 'not null' END, a.attgenerated,
          pg_get_expr(d.adbin, d.adrelid))
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
    """,
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraints": """
        SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    """,
    "policies": """
        SELECT concat_ws(' ', tablename, policyname, permissive, roles, cmd, qual, with_check)
        FROM pg_policies WHERE schemaname = 'public'
    """,
    "tables": """
        SELECT concat_ws(' ', relname, relrowsecurity, relforcerowsecurity, reloptions)
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    """,
    "grants": """
        SELECT concat_ws(' ', table_name, grantee, privilege_type)
        FROM information_schema.role_table_grants
        WHERE table_schema = 'public' AND grantee = 'parley_service'
    """,
    "invalid indexes": """
        SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid
    """,
}
OF_MODELS = ("columns", "indexes", "constraints")
"""What the models speak of too."""


Catalog = dict[str, list[str]]


async def catalog(url: str) -> Catalog:
    """Alembic's own table is left out."""
    connection = await asyncpg.connect(url)
    try:
        found: Catalog = {}
        for kind, query in CATALOG.items():
            rows = [str(row[0]) for row in await connection.fetch(query)]
            found[kind] = sorted(row for row in rows if "alembic_version" not in row)
        return found
    finally:
        await connection.close()
