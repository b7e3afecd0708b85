-- `within`: checks that the statement of a table has which is a parent or a child, since being attached takes them for granted. Not one whose functions need that table, one through
-- the other, or a key, which comes after the rows.
WITH RECURSIVE member(oid) AS (
  SELECT i.inhrelid FROM pg_inherits i UNION SELECT i.inhparent FROM pg_inherits i
), needed(check_oid, class, oid) AS (
  SELECT k.oid, d.refclassid, d.refobjid
  FROM member m JOIN pg_constraint k ON k.conrelid = m.oid JOIN pg_depend d ON d.classid = k.tableoid AND d.objid = k.oid
  WHERE k.contype = 'c' AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND d.refobjid >= 16384
  UNION
  SELECT n.check_oid, next.class, next.oid
  FROM needed n, LATERAL (
    -- A view that relies on a key can be made in two steps.
    SELECT d.refclassid, d.refobjid FROM pg_depend d
    WHERE d.classid = n.class AND d.objid = n.oid AND d.deptype NOT IN ('e', 'x') AND (d.classid, d.refclassid) <> ('pg_rewrite'::regclass, 'pg_constraint'::regclass)
    UNION ALL
    SELECT d.classid, d.objid FROM pg_depend d
    WHERE d.refclassid = n.class AND d.refobjid = n.oid AND d.deptype = 'i' AND d.classid IN ('pg_class'::regclass, 'pg_rewrite'::regclass)
  ) next(class, oid)
  WHERE next.oid >= 16384
), within(oid) AS (
  SELECT k.oid FROM member m JOIN pg_constraint k ON k.conrelid = m.oid
  WHERE k.contype = 'c' AND k.convalidated
    AND NOT EXISTS (SELECT FROM needed n WHERE n.check_oid = k.oid AND (n.class = 'pg_constraint'::regclass OR (n.class, n.oid) = ('pg_class'::regclass, k.conrelid)))
)
