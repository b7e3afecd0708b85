-- What belongs to one session only, and the server's own storage of large values.
SELECT c.tableoid, c.oid FROM pg_class c WHERE c.relpersistence = 't' OR c.relnamespace = 'pg_toast'::regnamespace
UNION ALL
SELECT n.tableoid, n.oid FROM pg_namespace n WHERE n.oid >= 16384 AND n.nspname ~ '^pg_(toast_)?temp_'
UNION ALL
SELECT t.tableoid, t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid >= 16384 AND n.nspname ~ '^pg_(toast_)?temp_'
UNION ALL
SELECT p.tableoid, p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid >= 16384 AND n.nspname ~ '^pg_(toast_)?temp_'
