SELECT f.tableoid, f.oid, 'OPERATOR FAMILY', n.nspname, f.opfname || ' ' || a.amname, format('OPERATOR FAMILY %I.%I USING %I', n.nspname, f.opfname, a.amname),
       pg_get_userbyid(f.opfowner), format('CREATE OPERATOR FAMILY %I.%I USING %I', n.nspname, f.opfname, a.amname)
FROM pg_opfamily f JOIN pg_namespace n ON n.oid = f.opfnamespace JOIN pg_am a ON a.oid = f.opfmethod
WHERE f.oid >= 16384 AND n.nspname !~ '^pg_'
