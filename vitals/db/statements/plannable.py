"""Checks that planning a statement runs no user-defined code of the database.

EXPLAIN executes nothing, but planning does: PostgreSQL evaluates IMMUTABLE functions when their
arguments are known, STABLE ones to estimate rows, and inlines SQL functions with what they call.
Such a function may write after all, for example over dblink, which a READ ONLY transaction does not
prevent. So a statement is not planned if it may reach one: by name, or through an operator, a cast,
a type, a view, a policy, a default, a constraint or an index. Functions in C of an extension are
trusted, and so is everything built into PostgreSQL.

Estimating rows also runs the functions of operators on samples of the data, volatile ones included;
and the values of a statement pass through the checks of domains. So nothing is planned if a
database has user-defined operators with an estimator, or a domain whose check calls such code.
"""

import re

from sqlalchemy import Connection, text

_NAME_BYTES = 63
"""PostgreSQL truncates longer names."""
_WORD = re.compile(r"[A-Za-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*")
_ESCAPED = re.compile(r"\bU&\"", re.IGNORECASE)
_ASCII_LOWER = str.maketrans({upper: upper.lower() for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"})

TRUSTED_CODE = """
    extended AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
    trusted (oid) AS (
        SELECT 0 UNION ALL
        SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.provolatile <> 'v' AND (p.oid < 16384 OR l.lanname IN ('c', 'internal') AND EXISTS (
            SELECT FROM extended WHERE classid = CAST('pg_proc' AS regclass) AND objid = p.oid))
    ),
    hidden (catalogue, oid, name, code) AS (
        SELECT CAST('pg_operator' AS regclass), o.oid, oprname,
               unnest(ARRAY[oprcode, oprrest, oprjoin])::oid
        FROM pg_operator o
        UNION ALL
        SELECT CAST('pg_cast' AS regclass), oid, '', castfunc FROM pg_cast WHERE castfunc <> 0
    ),
    made (code) AS (
        SELECT amproc::oid FROM pg_amproc
        UNION ALL SELECT unnest(ARRAY[rngcanonical, rngsubdiff])::oid FROM pg_range
        UNION ALL SELECT unnest(ARRAY[typinput, typoutput, typreceive, typsend, typmodin,
                                      typmodout])::oid FROM pg_type WHERE oid >= 16384
    )
"""
"""Common table expressions: ``trusted`` functions; ``hidden`` code behind operators and casts that
runs without being named (``extended`` lists the objects of extensions); ``made`` code of sorting,
ranges and types."""

# A name that is no plain word appears in the text in quotes, so it is searched for literally.
_CODE_REACHED = text(
    """
    WITH RECURSIVE """  # noqa: S608  # all of it is ours
    + TRUSTED_CODE
    + r""",
    words AS (SELECT unnest(CAST(:words AS text[])) AS word),
    names (name) AS (
        SELECT word FROM words
        UNION SELECT given.name FROM (
            SELECT proname FROM pg_proc WHERE oid >= 16384
            UNION SELECT relname FROM pg_class) AS given (name)
        WHERE given.name !~ '^[[:alpha:]_][[:alnum:]_$]*$'
          AND position(replace(given.name, '"', '""') IN CAST(:sql AS text)) > 0
    ),
    code AS (
        SELECT p.oid, p.proname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.oid >= 16384 AND p.prokind = 'f'
          AND p.prorettype NOT IN (CAST('trigger' AS regtype), CAST('event_trigger' AS regtype))
          AND (p.provolatile <> 'v' OR l.lanname = 'sql')
          AND NOT (l.lanname IN ('c', 'internal') AND EXISTS (
                SELECT FROM pg_depend WHERE classid = CAST('pg_proc' AS regclass)
                AND objid = p.oid AND deptype = 'e'))
    ),
    reached (oid) AS (
        SELECT oid FROM pg_class WHERE relname IN (SELECT name FROM names)
        UNION
        SELECT further.oid FROM reached, LATERAL (
            SELECT inhrelid AS oid FROM pg_inherits WHERE inhparent = reached.oid
            UNION ALL
            SELECT d.refobjid FROM pg_depend d
            WHERE d.refclassid = CAST('pg_class' AS regclass) AND (
                d.classid = CAST('pg_rewrite' AS regclass) AND d.objid IN (
                    SELECT r.oid FROM pg_rewrite r WHERE r.ev_class = reached.oid)
                OR d.classid = CAST('pg_policy' AS regclass) AND d.objid IN (
                    SELECT y.oid FROM pg_policy y WHERE y.polrelid = reached.oid))
        ) AS further
    ),
    used AS (
        SELECT code.proname, CASE d.classid
            WHEN CAST('pg_rewrite' AS regclass) THEN
                (SELECT ev_class FROM pg_rewrite WHERE oid = d.objid)
            WHEN CAST('pg_policy' AS regclass) THEN
                (SELECT polrelid FROM pg_policy WHERE oid = d.objid)
            WHEN CAST('pg_attrdef' AS regclass) THEN
                (SELECT adrelid FROM pg_attrdef WHERE oid = d.objid)
            WHEN CAST('pg_statistic_ext' AS regclass) THEN
                (SELECT stxrelid FROM pg_statistic_ext WHERE oid = d.objid)
            WHEN CAST('pg_constraint' AS regclass) THEN
                (SELECT nullif(conrelid, 0) FROM pg_constraint WHERE oid = d.objid)
            WHEN CAST('pg_class' AS regclass) THEN
                coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = d.objid), d.objid)
            END AS relation
        FROM code JOIN pg_depend d
            ON d.refclassid = CAST('pg_proc' AS regclass) AND d.refobjid = code.oid
        WHERE d.classid NOT IN (CAST('pg_trigger' AS regclass), CAST('pg_proc' AS regclass),
                                CAST('pg_event_trigger' AS regclass))
          -- If every call in an index takes a column, there is nothing to evaluate beforehand.
          AND NOT EXISTS (
            SELECT FROM pg_index i, LATERAL (
                SELECT concat(CAST(i.indexprs AS text), CAST(i.indpred AS text)) AS tree,
                       concat('\:funcid ', code.oid, ' ') AS call) AS t
            WHERE d.classid = CAST('pg_class' AS regclass) AND i.indexrelid = d.objid
            AND (SELECT count(*) FROM regexp_matches(tree, call, 'g'))
              = (SELECT count(*) FROM regexp_matches(tree,
                    call || '[^{}]*\:args \(\{(RELABELTYPE \:arg \{)?VAR ', 'g')))
    )
    SELECT proname FROM code WHERE proname IN (SELECT name FROM names)
    UNION
    SELECT proname FROM used WHERE relation IS NULL OR relation IN (SELECT oid FROM reached)
    UNION
    SELECT p.proname
    FROM hidden h JOIN pg_operator o ON o.oid = h.oid JOIN pg_proc p ON p.oid = h.code
    WHERE h.catalogue = CAST('pg_operator' AS regclass) AND h.oid >= 16384
      AND (o.oprrest <> 0 OR o.oprjoin <> 0)
      AND NOT ((h.catalogue, h.oid) IN (SELECT classid, objid FROM extended)
               AND h.code IN (SELECT oid FROM trusted))
    UNION
    SELECT p.proname FROM made JOIN pg_proc p ON p.oid = made.code
    WHERE made.code NOT IN (SELECT oid FROM trusted)
    UNION
    SELECT p.proname FROM pg_constraint c,
        LATERAL regexp_matches(CAST(c.conbin AS text), '\:(op)?funcid (\d+) ', 'g') AS called,
        LATERAL (SELECT oid, proname FROM pg_proc WHERE oid = CAST(called[2] AS oid)) AS p
    WHERE c.contypid <> 0 AND p.oid NOT IN (SELECT oid FROM trusted)
    ORDER BY 1 LIMIT 1
    """
)


class NotPlannableError(ValueError):
    """The statement is not planned, because that may run a user-defined function."""


def check_plannable(connection: Connection, sql: str) -> None:
    """Check that planning a statement runs no user-defined code.

    Args:
        connection: To PostgreSQL.
        sql: The statement.

    Raises:
        NotPlannableError: It may run some.
        sqlalchemy.exc.DBAPIError: The check fails in the database.
    """
    if _ESCAPED.search(sql):
        raise NotPlannableError("a statement with Unicode escapes in names (U&) is not planned")
    words = {form for word in _WORD.findall(sql) for form in (word, word.translate(_ASCII_LOWER))}
    cut = {word.encode(errors="replace")[:_NAME_BYTES].decode(errors="ignore") for word in words}
    found = connection.execute(_CODE_REACHED, {"words": sorted(cut), "sql": sql}).scalar()
    if found is not None:
        raise NotPlannableError(
            f"planning this statement may run {found}, a function that may have side effects"
        )
