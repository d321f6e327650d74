-- Total casts for the typed views: null where a value does not fit, never an error.

CREATE FUNCTION hive.as_text(v jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN v #>> '{}';

CREATE FUNCTION hive.as_number(v jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN jsonb_typeof(v) = 'number' THEN v::numeric
    WHEN length(v #>> '{}') < 1000 AND v #>> '{}' ~ '^[+-]?[0-9]+([.][0-9]+)?$' THEN (v #>> '{}')::numeric
    WHEN v #>> '{}' IN ('NaN', 'Infinity', '-Infinity') THEN (v #>> '{}')::numeric
END;

CREATE FUNCTION hive.as_integer(v jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN hive.as_number(v) BETWEEN -9223372036854775808 AND 9223372036854775807
        AND hive.as_number(v) = trunc(hive.as_number(v)) THEN hive.as_number(v)::bigint
END;

CREATE FUNCTION hive.as_float(v jsonb) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN v #>> '{}' IN ('NaN', 'Infinity', '-Infinity') THEN (v #>> '{}')::double precision
    WHEN abs(hive.as_number(v)) < 1e308 THEN
        CASE WHEN abs(hive.as_number(v)) < 1e-300 THEN 0 ELSE hive.as_number(v)::double precision END
END;

CREATE FUNCTION hive.as_boolean(v jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE lower(v #>> '{}') WHEN 'true' THEN true WHEN 'false' THEN false END;

-- The text of a date has no total cast before PostgreSQL 16, so these three catch.
CREATE FUNCTION hive.as_timestamptz(v jsonb) RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN (v #>> '{}')::timestamptz;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

CREATE FUNCTION hive.as_timestamp(v jsonb) RETURNS timestamp LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN (v #>> '{}')::timestamp;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

CREATE FUNCTION hive.as_date(v jsonb) RETURNS date LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN (v #>> '{}')::date;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;
