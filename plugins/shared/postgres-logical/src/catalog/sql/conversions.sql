SELECT c.tableoid, c.oid, 'CONVERSION', n.nspname, c.conname, format('CONVERSION %I.%I', n.nspname, c.conname), pg_get_userbyid(c.conowner),
       format('CREATE %sCONVERSION %I.%I FOR %L TO %L FROM %s', CASE WHEN c.condefault THEN 'DEFAULT ' END, n.nspname, c.conname,
         pg_encoding_to_char(c.conforencoding), pg_encoding_to_char(c.contoencoding), c.conproc::regproc)
FROM pg_conversion c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE c.oid >= 16384 AND n.nspname !~ '^pg_'
