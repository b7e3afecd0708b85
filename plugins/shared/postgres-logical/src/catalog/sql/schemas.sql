-- `public` is there in every new database: it is never made, only owned.
SELECT n.tableoid, n.oid, 'SCHEMA', NULL, n.nspname, format('SCHEMA %I', n.nspname), pg_get_userbyid(n.nspowner),
       CASE WHEN n.nspname <> 'public' THEN format('CREATE SCHEMA %I', n.nspname) ELSE '' END
FROM pg_namespace n
WHERE (n.oid >= 16384 OR n.nspname = 'public') AND n.nspname !~ '^pg_'
