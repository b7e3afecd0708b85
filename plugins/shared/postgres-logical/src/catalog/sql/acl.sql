-- Privileges as the difference between what an object has and what it would have in the target: by default, or as the server or an extension made it (`pg_init_privs`). What
-- everybody may do in `public` differs between majors: it is taken away first. In the order in which they were granted, but whoever granted on after whom the
-- right came from, which may have become somebody else since; and schemas first.
WITH RECURSIVE object(class, oid, owner, prefix, columns, target, acl, base) AS (
  SELECT c.tableoid, c.oid, c.relowner, '', '', CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass, c.relacl,
         coalesce((SELECT i.initprivs FROM pg_init_privs i WHERE i.classoid = c.tableoid AND i.objoid = c.oid AND i.objsubid = 0),
                  acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relacl IS NOT NULL AND n.nspname !~ '^(pg_temp|pg_toast|information_schema$)'
  UNION ALL
  SELECT c.tableoid, c.oid, c.relowner, '', format(' (%I)', a.attname), 'TABLE ' || c.oid::regclass, a.attacl,
         (SELECT i.initprivs FROM pg_init_privs i WHERE i.classoid = c.tableoid AND i.objoid = c.oid AND i.objsubid = a.attnum)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND n.nspname !~ '^(pg_temp|pg_toast|information_schema$)'
  UNION ALL
  SELECT p.tableoid, p.oid, p.proowner, '', '', CASE p.prokind WHEN 'p' THEN format('PROCEDURE %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) ELSE 'FUNCTION ' || p.oid::regprocedure END, p.proacl,
         coalesce((SELECT i.initprivs FROM pg_init_privs i WHERE i.classoid = p.tableoid AND i.objoid = p.oid), acldefault('f', p.proowner))
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.proacl IS NOT NULL
  UNION ALL
  SELECT t.tableoid, t.oid, t.typowner, '', '', format('TYPE %I.%I', n.nspname, t.typname), t.typacl,
         coalesce((SELECT i.initprivs FROM pg_init_privs i WHERE i.classoid = t.tableoid AND i.objoid = t.oid), acldefault('T', t.typowner))
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typacl IS NOT NULL
  UNION ALL
  SELECT l.tableoid, l.oid, l.lanowner, '', '', format('LANGUAGE %I', l.lanname), l.lanacl,
         coalesce((SELECT i.initprivs FROM pg_init_privs i WHERE i.classoid = l.tableoid AND i.objoid = l.oid), acldefault('l', l.lanowner))
  FROM pg_language l WHERE l.lanacl IS NOT NULL
  UNION ALL
  SELECT n.tableoid, n.oid, n.nspowner, '', '', format('SCHEMA %I', n.nspname), coalesce(n.nspacl, acldefault('n', n.nspowner)),
         CASE WHEN n.nspname = 'public' THEN ARRAY[makeaclitem(n.nspowner, n.nspowner, 'USAGE', false), makeaclitem(n.nspowner, n.nspowner, 'CREATE', false)]
           ELSE coalesce((SELECT i.initprivs FROM pg_init_privs i WHERE i.classoid = n.tableoid AND i.objoid = n.oid), acldefault('n', n.nspowner)) END
  FROM pg_namespace n WHERE (n.nspacl IS NOT NULL OR n.nspname = 'public') AND n.nspname !~ '^(pg_temp|pg_toast|information_schema$)'
  UNION ALL
  SELECT f.tableoid, f.oid, f.fdwowner, '', '', format('FOREIGN DATA WRAPPER %I', f.fdwname), f.fdwacl,
         coalesce((SELECT i.initprivs FROM pg_init_privs i WHERE i.classoid = f.tableoid AND i.objoid = f.oid), acldefault('F', f.fdwowner))
  FROM pg_foreign_data_wrapper f WHERE f.fdwacl IS NOT NULL
  UNION ALL
  SELECT s.tableoid, s.oid, s.srvowner, '', '', format('FOREIGN SERVER %I', s.srvname), s.srvacl, acldefault('S', s.srvowner)
  FROM pg_foreign_server s WHERE s.srvacl IS NOT NULL
  UNION ALL
  SELECT 'pg_largeobject'::regclass, o.oid, o.lomowner, '', '', format('LARGE OBJECT %s', o.oid), o.lomacl, acldefault('L', o.lomowner)
  FROM pg_largeobject_metadata o WHERE o.lomacl IS NOT NULL
  UNION ALL
  SELECT d.tableoid, d.oid, d.defaclrole,
         format('ALTER DEFAULT PRIVILEGES FOR ROLE %I %s', pg_get_userbyid(d.defaclrole),
           CASE WHEN d.defaclnamespace <> 0 THEN (SELECT format('IN SCHEMA %I ', n.nspname) FROM pg_namespace n WHERE n.oid = d.defaclnamespace) END),
         '', CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' END, d.defaclacl,
         CASE WHEN d.defaclnamespace <> 0 THEN NULL ELSE acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END::"char", d.defaclrole) END
  FROM pg_default_acl d
), held AS (
  SELECT o.*, o.prefix || o.target || o.columns AS what, i.grantor, i.grantee, i.privilege_type, i.is_grantable, i.place FROM object o, LATERAL (SELECT * FROM aclexplode(o.acl) WITH ORDINALITY AS e(grantor, grantee, privilege_type, is_grantable, place)) i
), given AS (
  SELECT o.*, i.grantor, i.grantee, i.privilege_type, i.is_grantable FROM object o, LATERAL aclexplode(o.base) i
), {passed_on}, change(class, oid, step, depth, place, target, statement) AS (
  SELECT g.class, g.oid, 0, 0, 0::bigint, g.target, format('%sREVOKE %s ON %s FROM %s', g.prefix, string_agg(g.privilege_type || g.columns, ', ' ORDER BY g.privilege_type), g.target,
           CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END)
  FROM given g
  WHERE NOT EXISTS (SELECT FROM held h WHERE (h.class, h.oid, h.columns, h.grantee, h.grantor, h.privilege_type) = (g.class, g.oid, g.columns, g.grantee, g.grantor, g.privilege_type))
  GROUP BY g.class, g.oid, g.prefix, g.columns, g.target, g.grantee
  UNION ALL
  SELECT n.tableoid, n.oid, 0, 0, 0, 'SCHEMA public', 'REVOKE ALL ON SCHEMA public FROM PUBLIC' FROM pg_namespace n WHERE n.nspname = 'public'
  UNION ALL
  SELECT h.class, h.oid, CASE h.columns WHEN '' THEN 1 ELSE 2 END, coalesce(a.depth, 0), min(h.place), h.target,
         concat(CASE WHEN h.grantor <> h.owner THEN format(E'SET SESSION AUTHORIZATION %I;\n', pg_get_userbyid(h.grantor)) END,
           h.prefix, 'GRANT ', string_agg(h.privilege_type || h.columns, ', ' ORDER BY h.place), ' ON ', h.target, ' TO ',
           CASE WHEN h.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(h.grantee)) END, CASE WHEN h.is_grantable THEN ' WITH GRANT OPTION' END,
           CASE WHEN h.grantor <> h.owner THEN E';\nRESET SESSION AUTHORIZATION' END)
  FROM held h LEFT JOIN allowed a ON h.grantor <> h.owner AND (a.what, a.privilege_type, a.grantee) = (h.what, h.privilege_type, h.grantor)
  WHERE NOT EXISTS (SELECT FROM given g WHERE (g.class, g.oid, g.columns, g.grantee, g.grantor, g.privilege_type, g.is_grantable)
                                            = (h.class, h.oid, h.columns, h.grantee, h.grantor, h.privilege_type, h.is_grantable))
  GROUP BY h.class, h.oid, h.prefix, h.columns, h.target, h.owner, h.grantor, h.grantee, h.is_grantable, coalesce(a.depth, 0)
)
SELECT change.class, change.oid, change.target, string_agg(change.statement, E';\n' ORDER BY change.step, change.depth, change.place, change.statement)
FROM change
GROUP BY change.class, change.oid, change.target
ORDER BY change.class <> 'pg_namespace'::regclass, change.target
