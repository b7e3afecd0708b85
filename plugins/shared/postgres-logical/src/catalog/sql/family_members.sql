-- Those that belong to no class; also ones that were added to a family that the server came with.
SELECT m.tableoid, m.oid, 'FAMILY MEMBER', n.nspname, format('%s operator %s %s', f.opfname, m.amopstrategy, m.oid), NULL, NULL,
       format('ALTER OPERATOR FAMILY %I.%I USING %I ADD OPERATOR %s %s%s', n.nspname, f.opfname, a.amname, m.amopstrategy, m.amopopr::regoperator,
         CASE WHEN m.amopsortfamily <> 0 THEN (SELECT format(' FOR ORDER BY %I.%I', sn.nspname, sf.opfname)
           FROM pg_opfamily sf JOIN pg_namespace sn ON sn.oid = sf.opfnamespace WHERE sf.oid = m.amopsortfamily) END)
FROM pg_amop m JOIN pg_opfamily f ON f.oid = m.amopfamily JOIN pg_namespace n ON n.oid = f.opfnamespace JOIN pg_am a ON a.oid = f.opfmethod
WHERE m.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = m.tableoid AND d.objid = m.oid AND d.refclassid = 'pg_opclass'::regclass)
UNION ALL
SELECT m.tableoid, m.oid, 'FAMILY MEMBER', n.nspname, format('%s function %s %s', f.opfname, m.amprocnum, m.oid), NULL, NULL,
       format('ALTER OPERATOR FAMILY %I.%I USING %I ADD FUNCTION %s (%s, %s) %s', n.nspname, f.opfname, a.amname, m.amprocnum,
         format_type(m.amproclefttype, NULL), format_type(m.amprocrighttype, NULL), m.amproc::oid::regprocedure)
FROM pg_amproc m JOIN pg_opfamily f ON f.oid = m.amprocfamily JOIN pg_namespace n ON n.oid = f.opfnamespace JOIN pg_am a ON a.oid = f.opfmethod
WHERE m.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = m.tableoid AND d.objid = m.oid AND d.refclassid = 'pg_opclass'::regclass)
