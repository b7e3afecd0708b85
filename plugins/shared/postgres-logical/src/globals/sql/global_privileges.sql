-- Of tablespaces, and from 15 on of settings.
WITH object(owner, target, acl, base) AS (
  SELECT t.spcowner, format('TABLESPACE %I', t.spcname), t.spcacl, acldefault('t', t.spcowner) FROM pg_tablespace t WHERE t.spcacl IS NOT NULL
--@15+ UNION ALL SELECT 10, format('PARAMETER %s', p.parname), p.paracl, acldefault('p', 10) FROM pg_parameter_acl p
), change AS (
  SELECT o.target, 0 AS step, 0::bigint AS place, format('REVOKE %s ON %s FROM %s', string_agg(b.privilege_type, ', '), o.target, CASE WHEN b.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(b.grantee)) END) AS statement
  FROM object o, aclexplode(o.base) b
  WHERE NOT EXISTS (SELECT FROM aclexplode(o.acl) h WHERE (h.grantor, h.grantee, h.privilege_type) = (b.grantor, b.grantee, b.privilege_type))
  GROUP BY o.target, b.grantee
  UNION ALL
  SELECT o.target, 1, min(h.place), concat(CASE WHEN h.grantor <> o.owner THEN format(E'SET SESSION AUTHORIZATION %I;\n', pg_get_userbyid(h.grantor)) END,
           format('GRANT %s ON %s TO %s', string_agg(h.privilege_type, ', ' ORDER BY h.place), o.target, CASE WHEN h.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(h.grantee)) END),
           CASE WHEN h.is_grantable THEN ' WITH GRANT OPTION' END, CASE WHEN h.grantor <> o.owner THEN E';\nRESET SESSION AUTHORIZATION' END)
  FROM object o, aclexplode(o.acl) WITH ORDINALITY h(grantor, grantee, privilege_type, is_grantable, place)
  WHERE NOT EXISTS (SELECT FROM aclexplode(o.base) b WHERE (h.grantor, h.grantee, h.privilege_type, h.is_grantable) = (b.grantor, b.grantee, b.privilege_type, b.is_grantable))
  GROUP BY o.owner, o.target, h.grantor, h.grantee, h.is_grantable
)
SELECT target, string_agg(statement, E';\n' ORDER BY step, place) FROM change GROUP BY target ORDER BY target
