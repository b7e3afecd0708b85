SELECT c.tableoid, c.oid, 'COLLATION', n.nspname, c.collname, format('COLLATION %I.%I', n.nspname, c.collname), pg_get_userbyid(c.collowner),
       format('CREATE COLLATION %I.%I (%s)', n.nspname, c.collname, concat_ws(', ',
         format('provider = %s', CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END),
         CASE WHEN NOT c.collisdeterministic THEN 'deterministic = false' END,
--@<15   CASE WHEN c.collprovider = 'c' THEN format('lc_collate = %L, lc_ctype = %L', c.collcollate, c.collctype) ELSE format('locale = %L', c.collcollate) END
--@15-16 CASE WHEN c.collprovider = 'c' THEN format('lc_collate = %L, lc_ctype = %L', c.collcollate, c.collctype) ELSE format('locale = %L', c.colliculocale) END
--@17+   CASE WHEN c.collprovider = 'c' THEN format('lc_collate = %L, lc_ctype = %L', c.collcollate, c.collctype) ELSE format('locale = %L', c.colllocale) END
--@16+   , 'rules = ' || quote_literal(c.collicurules)
       ))
FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE c.oid >= 16384 AND n.nspname !~ '^pg_'
