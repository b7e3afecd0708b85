SELECT a.tableoid, a.oid, 'ACCESS METHOD', NULL, a.amname, format('ACCESS METHOD %I', a.amname), NULL,
       format('CREATE ACCESS METHOD %I TYPE %s HANDLER %s', a.amname, CASE a.amtype WHEN 't' THEN 'TABLE' ELSE 'INDEX' END, a.amhandler::regproc)
FROM pg_am a
WHERE a.oid >= 16384
