-- What a partition has of its parent's trigger comes with that; only whether it is enabled may differ. The parent's state goes to its partitions first.
SELECT t.tableoid, t.oid, 'TRIGGER', n.nspname, format('%s %s', c.relname, t.tgname), format('TRIGGER %I ON %s', t.tgname, c.oid::regclass), NULL,
       concat_ws(E';\n', CASE WHEN t.tgparentid = 0 THEN pg_get_triggerdef(t.oid) END,
         CASE WHEN t.tgenabled <> coalesce((SELECT p.tgenabled FROM pg_trigger p WHERE p.oid = t.tgparentid), 'O')
           THEN format('ALTER TABLE %s %s TRIGGER %I', c.oid::regclass,
             CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE' END, t.tgname) END), c.oid
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.oid >= 16384 AND n.nspname !~ '^pg_' AND t.tgconstrrelid = 0 AND (NOT t.tgisinternal OR t.tgparentid <> 0)
   OR t.oid >= 16384 AND t.tgconstrrelid <> 0 AND NOT t.tgisinternal
