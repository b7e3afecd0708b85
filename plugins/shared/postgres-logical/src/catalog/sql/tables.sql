-- `pg_attver` among a column's options is a stamp that the server (from 15.20 on) gives by itself; pg_dump leaves it out too.
-- Defaults are objects of their own (`defaults.sql`). Expressions of generated columns can only be given here (before 16 not again for a column that is inherited as one), and so
-- can the checks that a child shares with its parent (`within.sql`). A partition is made as a table and attached afterwards (`partitions.sql`). So is a child all of whose columns are its own: made
-- as its parent's child it would have them in the parent's order. A child may have lost its parent's NOT NULL, but not before it was one. How columns are stored comes when all children are
-- there, because they would have it from their parents (`column_storage.sql`).
SELECT c.tableoid, c.oid, kind.kind, n.nspname, c.relname, format('%s %s', kind.kind, c.oid::regclass), pg_get_userbyid(c.relowner),
       format('CREATE %s%s %s', CASE WHEN c.relpersistence = 'u' THEN 'UNLOGGED ' END, kind.kind, c.oid::regclass)
       || CASE WHEN c.reloftype <> 0 THEN format(' OF %s', c.reloftype::regtype) ELSE '' END
       || coalesce(E' (\n' || items.list || E'\n)', CASE WHEN c.reloftype <> 0 THEN '' ELSE ' ()' END)
       || CASE WHEN c.relispartition OR apart.apart THEN '' ELSE coalesce((SELECT format(' INHERITS (%s)', string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno))
                                                            FROM pg_inherits i WHERE i.inhrelid = c.oid HAVING count(*) > 0), '') END
       || CASE WHEN c.relkind = 'p' THEN ' PARTITION BY ' || pg_get_partkeydef(c.oid) ELSE '' END
       || CASE WHEN c.relkind = 'f' THEN (SELECT format(' SERVER %I', s.srvname)
              || coalesce((SELECT ' OPTIONS (' || string_agg(format('%I %L', o.option_name, o.option_value), ', ') || ')' FROM pg_options_to_table(ft.ftoptions) o), '')
            FROM pg_foreign_table ft JOIN pg_foreign_server s ON s.oid = ft.ftserver WHERE ft.ftrelid = c.oid) ELSE '' END
       || CASE WHEN c.relam <> 0 AND am.amname <> 'heap' THEN format(' USING %I', am.amname) ELSE '' END
       || coalesce(' WITH (' || options.list || ')', '')
       || CASE WHEN c.reltablespace <> 0 THEN (SELECT format(' TABLESPACE %I', spcname) FROM pg_tablespace ts WHERE ts.oid = c.reltablespace) ELSE '' END
       || CASE WHEN apart.apart THEN (SELECT string_agg(format(E';\nALTER TABLE ONLY %s INHERIT %s', c.oid::regclass, i.inhparent::regclass), '' ORDER BY i.inhseqno)
                                      FROM pg_inherits i WHERE i.inhrelid = c.oid) ELSE '' END
       || coalesce(alterations.list, '')
       || CASE WHEN c.relkind = 'f' THEN '' WHEN c.relreplident = 'n' THEN format(E';\nALTER TABLE ONLY %s REPLICA IDENTITY NOTHING', c.oid::regclass)
                              WHEN c.relreplident = 'f' THEN format(E';\nALTER TABLE ONLY %s REPLICA IDENTITY FULL', c.oid::regclass) ELSE '' END
       || CASE WHEN c.relforcerowsecurity THEN format(E';\nALTER TABLE ONLY %s FORCE ROW LEVEL SECURITY', c.oid::regclass) ELSE '' END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am am ON am.oid = c.relam LEFT JOIN pg_class toast ON toast.oid = c.reltoastrelid
     CROSS JOIN LATERAL (SELECT CASE c.relkind WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind) kind
     CROSS JOIN LATERAL (
       SELECT NOT c.relispartition AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
              AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.attislocal)
              AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' AND NOT (k.conislocal AND k.convalidated)) AS apart) apart
     CROSS JOIN LATERAL (
       SELECT string_agg('    ' || item, E',\n' ORDER BY place, name) AS list FROM (
         SELECT a.attnum::int AS place, NULL::name AS name,
                concat(quote_ident(a.attname), CASE WHEN c.reloftype <> 0 THEN ' WITH OPTIONS' ELSE ' ' || format_type(a.atttypid, a.atttypmod) END,
                  CASE WHEN c.reloftype = 0 THEN (SELECT ' OPTIONS (' || string_agg(format('%I %L', o.option_name, o.option_value), ', ') || ')' FROM pg_options_to_table(a.attfdwoptions) o) END,
                  CASE WHEN c.reloftype = 0 AND a.attcollation <> 0 AND a.attcollation <> t.typcollation THEN format(' COLLATE %s', a.attcollation::regcollation) END,
                  CASE WHEN a.attgenerated = 's' AND (apart.apart OR c.relispartition OR NOT generated.above) THEN format(' GENERATED ALWAYS AS (%s) STORED', pg_get_expr(def.adbin, def.adrelid)) END,
                  CASE WHEN a.attnotnull OR (apart.apart AND above.not_null) THEN ' NOT NULL' END) AS item
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef def ON def.adrelid = a.attrelid AND def.adnum = a.attnum
              CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_inherits i JOIN pg_attribute p ON p.attrelid = i.inhparent WHERE i.inhrelid = c.oid AND p.attname = a.attname AND p.attnotnull) AS not_null) above
--@<16        CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_inherits i JOIN pg_attribute p ON p.attrelid = i.inhparent
--@<16                                           WHERE i.inhrelid = c.oid AND p.attname = a.attname AND p.attgenerated <> '') AS above) generated
--@16+        CROSS JOIN LATERAL (SELECT false AS above) generated
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND (a.attislocal OR c.relispartition)
           AND (c.reloftype = 0 OR a.attnotnull OR a.attgenerated <> '')
         UNION ALL
         SELECT 10000, k.conname, format('CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid))
         FROM pg_constraint k
         WHERE k.conrelid = c.oid AND (k.conislocal OR c.relispartition) AND k.oid IN (SELECT w.oid FROM within w)
       ) AS parts) AS items
     CROSS JOIN LATERAL (
       SELECT string_agg(o.option, ', ') AS list FROM (
         SELECT format('%I=%L', split_part(plain, '=', 1), substr(plain, strpos(plain, '=') + 1)) AS option FROM unnest(c.reloptions) plain
         UNION ALL
         SELECT format('toast.%I=%L', split_part(plain, '=', 1), substr(plain, strpos(plain, '=') + 1)) FROM unnest(toast.reloptions) plain) o) options
     CROSS JOIN LATERAL (
       SELECT string_agg(concat(
           CASE WHEN c.relispartition THEN NULL
             WHEN a.attnotnull AND NOT a.attislocal THEN format(E';\nALTER TABLE ONLY %s ALTER COLUMN %I SET NOT NULL', c.oid::regclass, a.attname)
             WHEN above.not_null AND NOT a.attnotnull THEN format(E';\nALTER TABLE ONLY %s ALTER COLUMN %I DROP NOT NULL', c.oid::regclass, a.attname) END,
           CASE WHEN a.attstattarget >= 0 THEN format(E';\nALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS %s', c.oid::regclass, a.attname, a.attstattarget) END,
           (SELECT format(E';\nALTER TABLE ONLY %s ALTER COLUMN %I SET (%s)', c.oid::regclass, a.attname, string_agg(o, ', ')) FROM unnest(a.attoptions) o WHERE o !~ '^pg_attver=' HAVING count(*) > 0),
           CASE WHEN a.attfdwoptions IS NOT NULL AND (c.reloftype <> 0 OR NOT (a.attislocal OR c.relispartition)) THEN format(E';\nALTER FOREIGN TABLE %s ALTER COLUMN %I OPTIONS (%s)', c.oid::regclass, a.attname,
             (SELECT string_agg(format('ADD %I %L', o.option_name, o.option_value), ', ') FROM pg_options_to_table(a.attfdwoptions) o)) END
         ), '' ORDER BY a.attnum) AS list
       FROM pg_attribute a CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_inherits i JOIN pg_attribute p ON p.attrelid = i.inhparent WHERE i.inhrelid = c.oid AND p.attname = a.attname AND p.attnotnull) AS not_null) above
       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) alterations
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'f') AND n.nspname !~ '^pg_' AND c.relpersistence <> 't'
