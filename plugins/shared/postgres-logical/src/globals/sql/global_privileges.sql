-- Of tablespaces, and from 15 on of settings. Whoever granted on comes after whom the right came from.
WITH RECURSIVE object(owner, what, acl, base) AS (
  SELECT t.spcowner, format('TABLESPACE %I', t.spcname), t.spcacl, acldefault('t', t.spcowner) FROM pg_tablespace t WHERE t.spcacl IS NOT NULL
--@15+ UNION ALL SELECT 10, format('PARAMETER %s', p.parname), p.paracl, acldefault('p', 10) FROM pg_parameter_acl p
), held AS (
  SELECT o.what, o.owner, o.base, h.* FROM object o, aclexplode(o.acl) WITH ORDINALITY h(grantor, grantee, privilege_type, is_grantable, place)
), {passed_on}, change AS (
  SELECT o.what, 0 AS step, 0 AS depth, 0::bigint AS place, format('REVOKE %s ON %s FROM %s', string_agg(b.privilege_type, ', '), o.what, CASE WHEN b.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(b.grantee)) END) AS statement
  FROM object o, aclexplode(o.base) b
  WHERE NOT EXISTS (SELECT FROM aclexplode(o.acl) h WHERE (h.grantor, h.grantee, h.privilege_type) = (b.grantor, b.grantee, b.privilege_type))
  GROUP BY o.what, b.grantee
  UNION ALL
  SELECT h.what, 1, coalesce(a.depth, 0), min(h.place), concat(CASE WHEN h.grantor <> h.owner THEN format(E'SET SESSION AUTHORIZATION %I;\n', pg_get_userbyid(h.grantor)) END,
           format('GRANT %s ON %s TO %s', string_agg(h.privilege_type, ', ' ORDER BY h.place), h.what, CASE WHEN h.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(h.grantee)) END),
           CASE WHEN h.is_grantable THEN ' WITH GRANT OPTION' END, CASE WHEN h.grantor <> h.owner THEN E';\nRESET SESSION AUTHORIZATION' END)
  FROM held h LEFT JOIN allowed a ON h.grantor <> h.owner AND (a.what, a.privilege_type, a.grantee) = (h.what, h.privilege_type, h.grantor)
  WHERE NOT EXISTS (SELECT FROM aclexplode(h.base) b WHERE (h.grantor, h.grantee, h.privilege_type, h.is_grantable) = (b.grantor, b.grantee, b.privilege_type, b.is_grantable))
  GROUP BY h.owner, h.what, h.grantor, h.grantee, h.is_grantable, coalesce(a.depth, 0)
)
SELECT what, string_agg(statement, E';\n' ORDER BY step, depth, place) FROM change GROUP BY what ORDER BY what
