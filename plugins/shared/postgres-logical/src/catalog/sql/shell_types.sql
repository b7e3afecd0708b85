-- A base type needs functions that need the type: it begins as a name. So does a range with a canonical function. These rows have the number of the type,
-- under a catalog of our own (0), because they are made before it.
SELECT 0, t.oid, 'SHELL TYPE', n.nspname, t.typname, format('TYPE %I.%I', n.nspname, t.typname), NULL,
       format('CREATE TYPE %I.%I', n.nspname, t.typname)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_range r ON r.rngtypid = t.oid
WHERE t.oid >= 16384 AND n.nspname !~ '^pg_' AND t.typisdefined AND (t.typtype = 'b' OR r.rngcanonical <> 0)
  AND NOT EXISTS (SELECT FROM pg_type element WHERE element.typarray = t.oid)
