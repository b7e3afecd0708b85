-- Name, and what makes the role as it is. One with the number 10 is the superuser that the cluster began with.
SELECT r.rolname, format('ALTER ROLE %I WITH %s', r.rolname, concat_ws(' ',
         CASE WHEN r.rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END, CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
         CASE WHEN r.rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
         CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN r.rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
         CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, CASE WHEN r.rolconnlimit <> -1 THEN format('CONNECTION LIMIT %s', r.rolconnlimit) END,
         'PASSWORD ' || quote_literal(r.rolpassword), 'VALID UNTIL ' || quote_literal(r.rolvaliduntil)))
       || coalesce(E';\n' || format('COMMENT ON ROLE %I IS %L', r.rolname, d.description), '')
       || coalesce((SELECT string_agg(format(E';\nSECURITY LABEL FOR %I ON ROLE %I IS %L', s.provider, r.rolname, s.label), '') FROM pg_shseclabel s WHERE s.classoid = 'pg_authid'::regclass AND s.objoid = r.oid), ''),
       r.oid
FROM {roles} r LEFT JOIN pg_shdescription d ON d.classoid = 'pg_authid'::regclass AND d.objoid = r.oid
WHERE r.rolname !~ '^pg_'
ORDER BY r.rolname
