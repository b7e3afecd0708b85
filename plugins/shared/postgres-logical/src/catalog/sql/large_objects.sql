SELECT 'pg_largeobject'::regclass::oid, l.oid, 'LARGE OBJECT', NULL, l.oid::text, format('LARGE OBJECT %s', l.oid), pg_get_userbyid(l.lomowner),
       format('SELECT pg_catalog.lo_create(%s)', l.oid)
FROM pg_largeobject_metadata l
