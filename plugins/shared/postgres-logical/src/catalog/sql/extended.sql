-- What others than the extension itself did to what it owns: 'added', what belongs to one of its objects now; 'said', objects that have a label, or a comment of somebody else.
-- Who did it, transactions tell: the extension's own are those that wrote down what it owns.
WITH member(class, oid, extension) AS (
  SELECT d.classid, d.objid, d.refobjid FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
), own(extension, transaction) AS (
  SELECT d.refobjid, d.xmin::text FROM pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  UNION
  SELECT e.oid, e.xmin::text FROM pg_extension e
)
SELECT 'added', d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0)
FROM member m JOIN pg_depend d ON d.refclassid = m.class AND d.refobjid = m.oid AND d.deptype = 'a'
WHERE (d.classid::regclass::text IN ('pg_constraint', 'pg_trigger', 'pg_rewrite', 'pg_policy', 'pg_attrdef', 'pg_statistic_ext', 'pg_amop', 'pg_amproc',
                                     'pg_publication_rel', 'pg_publication_namespace')
       OR EXISTS (SELECT FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind IN ('i', 'I')))
  AND NOT EXISTS (SELECT FROM member other WHERE other.class = d.classid AND other.oid = d.objid)
  AND NOT EXISTS (SELECT FROM own WHERE own.extension = m.extension AND own.transaction = d.xmin::text)
UNION
SELECT 'said', m.class, m.oid, ''
FROM member m JOIN pg_description d ON d.classoid = m.class AND d.objoid = m.oid
WHERE NOT EXISTS (SELECT FROM own WHERE own.extension = m.extension AND own.transaction = d.xmin::text)
UNION
SELECT 'said', m.class, m.oid, ''
FROM member m JOIN pg_seclabel s ON s.classoid = m.class AND s.objoid = m.oid
ORDER BY 1, 4
