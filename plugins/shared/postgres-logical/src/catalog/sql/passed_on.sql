-- Of `held`, what was granted (what, owner, grantor, grantee, privilege_type, is_grantable): `allowed`, who may grant what on, and over how many hands that came from the owner.
passed(what, privilege_type, grantee, depth) AS (
  SELECT h.what, h.privilege_type, h.grantee, 1 FROM held h
  WHERE h.grantor = h.owner AND h.is_grantable AND h.what IN (SELECT o.what FROM held o WHERE o.grantor <> o.owner)
  UNION
  SELECT h.what, h.privilege_type, h.grantee, p.depth + 1
  FROM passed p JOIN held h ON (h.what, h.privilege_type, h.grantor) = (p.what, p.privilege_type, p.grantee)
  WHERE h.is_grantable AND h.grantor <> h.owner
), allowed AS (
  SELECT what, privilege_type, grantee, min(depth) AS depth FROM passed GROUP BY what, privilege_type, grantee
)