"""What geodl adds to a pgstac database: a schema of its own with functions that never fail, and the outbox.

pgstac's own wrappers (`to_float`, `to_tstz`) raise an error at the first Item whose property is of another type, and
with it the whole search, or, behind an index, the write. The functions here answer NULL instead.
"""

SCHEMA_VERSION = 1
QUERYABLES = ("eo:cloud_cover", "grid:code", "created", "geodl:model", "geodl:job_id", "updated")
"""Properties with an index of their own, as in an embedded catalog."""
FALLING = ("eo:cloud_cover", "created", "updated")
"""Those with a second index, since an index is of use in one direction alone where some Items lack the property."""

TABLES = """
CREATE TABLE IF NOT EXISTS geodl.about (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS geodl.outbox (
    seq bigserial PRIMARY KEY,
    op text NOT NULL,
    collection text NOT NULL,
    id text NOT NULL,
    etag text NOT NULL,
    at timestamptz NOT NULL
);
"""
GRANTS = """
GRANT USAGE ON SCHEMA geodl TO pgstac_read;
GRANT SELECT ON ALL TABLES IN SCHEMA geodl TO pgstac_read;
GRANT INSERT, DELETE ON geodl.outbox TO pgstac_ingest;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA geodl TO pgstac_ingest;
"""

# `{icu}` is a collation that knows the letters of all alphabets; a database of locale C knows those of ASCII alone.
FUNCTIONS = r"""
-- Their cost is that of unpacking a document of several kB, which PostgreSQL does not think of: without it an index
-- that finds a few Items would seem dearer than reading thousands. A function in SQL would lose it.
CREATE OR REPLACE FUNCTION geodl.txt(jsonb) RETURNS text AS $$ BEGIN
    RETURN CASE WHEN jsonb_typeof($1) = 'string' THEN $1 #>> '{{}}' END;
END $$ LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000;

CREATE OR REPLACE FUNCTION geodl.num(jsonb) RETURNS float8 AS $$ BEGIN
    RETURN CASE WHEN jsonb_typeof($1) = 'number' AND abs($1::numeric) < 1e308 THEN $1::float8 END;
END $$ LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000;

CREATE OR REPLACE FUNCTION geodl.flag(jsonb) RETURNS boolean AS $$ BEGIN
    RETURN CASE WHEN jsonb_typeof($1) = 'boolean' THEN $1::boolean END;
END $$ LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000;

-- What words are looked for in: lists and objects as they are spelled.
CREATE OR REPLACE FUNCTION geodl.prose(jsonb) RETURNS text AS $$
    SELECT CASE
        WHEN jsonb_typeof($1) = 'string' THEN $1 #>> '{{}}'
        WHEN jsonb_typeof($1) IN ('array', 'object') THEN $1::text
    END
$$ LANGUAGE sql IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION geodl.has_words(jsonb, text) RETURNS boolean AS $$
    SELECT coalesce(geodl.prose($1) {icu} ~* $2, false)
$$ LANGUAGE sql IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION geodl.casei(text) RETURNS text AS $$
    SELECT lower($1 {icu})
$$ LANGUAGE sql IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION geodl.accenti(text) RETURNS text AS $$
    SELECT regexp_replace(
        normalize($1, NFD),
        '[\u0300-\u036f\u0483-\u0487\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f]', '', 'g'
    )
$$ LANGUAGE sql IMMUTABLE PARALLEL SAFE;

-- RFC 3339, also shortened to a day, a month or a year; digits finer than a microsecond are dropped, not rounded.
CREATE OR REPLACE FUNCTION geodl.instant(jsonb) RETURNS timestamptz AS $$
DECLARE
    spelled text := geodl.txt($1);
BEGIN
    IF spelled ~ '^\d{{4}}$' THEN
        spelled := spelled || '-01-01';
    ELSIF spelled ~ '^\d{{4}}-\d\d$' THEN
        spelled := spelled || '-01';
    ELSIF spelled !~ '^\d{{4}}-\d\d-\d\d([Tt ]\d\d:\d\d.*)?$' THEN
        RETURN NULL;
    END IF;
    RETURN regexp_replace(spelled, '(\.\d{{6}})\d+', '\1')::timestamptz;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$ LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET timezone TO 'UTC';

CREATE OR REPLACE FUNCTION geodl.arithmetic(op text, a float8, b float8) RETURNS float8 AS $$
BEGIN
    CASE op
        WHEN '+' THEN RETURN a + b;
        WHEN '-' THEN RETURN a - b;
        WHEN '*' THEN RETURN a * b;
        WHEN '/' THEN RETURN a / b;
        WHEN '%' THEN RETURN mod(a::numeric, b::numeric);
        WHEN 'div' THEN RETURN trunc(a / b);
        ELSE RETURN power(a, b);
    END CASE;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$ LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE;

-- Lists compared as sets; NULL where one of them is no list.
CREATE OR REPLACE FUNCTION geodl.lists(op text, a jsonb, b jsonb) RETURNS boolean AS $$
BEGIN
    IF jsonb_typeof(a) <> 'array' OR jsonb_typeof(b) <> 'array' THEN
        RETURN NULL;
    END IF;
    CASE op
        WHEN 'a_contains' THEN
            RETURN NOT EXISTS (SELECT jsonb_array_elements(b) EXCEPT SELECT jsonb_array_elements(a));
        WHEN 'a_containedby' THEN
            RETURN NOT EXISTS (SELECT jsonb_array_elements(a) EXCEPT SELECT jsonb_array_elements(b));
        WHEN 'a_equals' THEN
            RETURN geodl.lists('a_contains', a, b) AND geodl.lists('a_contains', b, a);
        ELSE
            RETURN EXISTS (SELECT jsonb_array_elements(a) INTERSECT SELECT jsonb_array_elements(b));
    END CASE;
END
$$ LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE;

-- Of the row, which holds all that the document is made of: so an Item that another program wrote has one too.
CREATE OR REPLACE FUNCTION geodl.etag(item pgstac.items) RETURNS text AS $$
    SELECT left(encode(sha256(convert_to(
        concat_ws(' ', item.content::text, item.geometry::text, item.private::text), 'UTF8'
    )), 'hex'), 32)
$$ LANGUAGE sql STABLE;

CREATE OR REPLACE FUNCTION geodl.etag(content jsonb) RETURNS text AS $$
    SELECT left(encode(sha256(convert_to(content::text, 'UTF8')), 'hex'), 32)
$$ LANGUAGE sql STABLE;
"""


def property_text(name: str) -> str:
    """Return the SQL for an indexed property, spelled as in its index: missing and null are NULL, else the JSON."""
    return f"NULLIF(content->'properties'->'{name}', 'null'::jsonb)"


def index_statements() -> list[str]:
    """Return what makes the indexes of the properties, on `items` and on pgstac's copy of its indexes.

    An index that the copy lacks would be one to be dropped, to pgstac's own maintenance.
    """
    wanted = [(name, "") for name in QUERYABLES] + [(name, " DESC NULLS LAST") for name in FALLING]
    return [
        f"CREATE INDEX IF NOT EXISTS {table}_geodl_{number} ON pgstac.{table} (({property_text(name)}){order})"
        for table in ("items", "queryable_index_template")
        for number, (name, order) in enumerate(wanted)
    ]
