-- The index of a constraint is made with it. What a partition inherits of a foreign key comes with its parent's.
SELECT k.tableoid, k.oid, CASE k.contype WHEN 'f' THEN 'FK CONSTRAINT' ELSE 'CONSTRAINT' END, n.nspname, format('%s %s', c.relname, k.conname),
       format('CONSTRAINT %I ON %s', k.conname, c.oid::regclass), NULL,
       CASE WHEN k.contype = 'f' AND k.conparentid <> 0 THEN ''
         WHEN k.contype = 'f' THEN format('ALTER TABLE %s%s ADD CONSTRAINT %I %s', CASE WHEN c.relkind <> 'p' THEN 'ONLY ' END, c.oid::regclass, k.conname, pg_get_constraintdef(k.oid))
         ELSE concat(
           CASE WHEN ic.reltablespace <> 0 THEN (SELECT format(E'SET default_tablespace = %I;\n', spcname) FROM pg_tablespace ts WHERE ts.oid = ic.reltablespace) END,
           format('ALTER TABLE ONLY %s ADD CONSTRAINT %I ', c.oid::regclass, k.conname),
           CASE WHEN k.contype = 'x' THEN pg_get_constraintdef(k.oid)
             ELSE concat(regexp_replace(pg_get_constraintdef(k.oid), '( DEFERRABLE)?( INITIALLY DEFERRED)?$', ''),
               (SELECT ' WITH (' || string_agg(format('%I=%L', split_part(plain, '=', 1), substr(plain, strpos(plain, '=') + 1)), ', ') || ')' FROM unnest(ic.reloptions) plain),
               CASE WHEN k.condeferrable THEN ' DEFERRABLE' END, CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' END) END,
           CASE WHEN ic.reltablespace <> 0 THEN E';\nSET default_tablespace = ''''' END,
           CASE WHEN i.indisclustered THEN format(E';\nALTER TABLE %s CLUSTER ON %I', c.oid::regclass, ic.relname) END,
           CASE WHEN i.indisreplident THEN format(E';\nALTER TABLE ONLY %s REPLICA IDENTITY USING INDEX %I', c.oid::regclass, ic.relname) END)
       END, c.oid
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND k.contype <> 'f' LEFT JOIN pg_class ic ON ic.oid = i.indexrelid
WHERE k.oid >= 16384 AND k.contype IN ('p', 'u', 'x', 'f') AND n.nspname !~ '^pg_'
