-- What depends on what, and whether it is a part that others may have added (the last column): not what is merely dropped along, such as a partition, a sequence that
-- a column owns, or an operator class in somebody else's family. A generated column, which before 15 goes along with what its expression calls, takes no table along.
SELECT DISTINCT d.classid, d.objid, d.refclassid, d.refobjid, CASE WHEN d.deptype = 'a' AND d.objsubid <> 0 THEN 'n' ELSE d.deptype END,
       d.deptype = 'a' AND (d.classid::regclass::text IN ('pg_constraint', 'pg_trigger', 'pg_rewrite', 'pg_policy', 'pg_attrdef', 'pg_statistic_ext', 'pg_amop', 'pg_amproc',
                                                          'pg_publication_rel', 'pg_publication_namespace')
                            OR EXISTS (SELECT FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind IN ('i', 'I')))
FROM pg_depend d
WHERE d.objid >= 16384 AND d.deptype <> 'p' AND (d.classid, d.objid) <> (d.refclassid, d.refobjid)
