-- A member is part of the class that it depends on; those that depend on the family only are added to the family (`family_members.sql`).
SELECT c.tableoid, c.oid, 'OPERATOR CLASS', n.nspname, c.opcname || ' ' || a.amname, format('OPERATOR CLASS %I.%I USING %I', n.nspname, c.opcname, a.amname),
       pg_get_userbyid(c.opcowner),
       format(E'CREATE OPERATOR CLASS %I.%I%s FOR TYPE %s USING %I FAMILY %I.%I AS\n    %s', n.nspname, c.opcname, CASE WHEN c.opcdefault THEN ' DEFAULT' END,
         format_type(c.opcintype, NULL), a.amname, fn.nspname, f.opfname,
         concat_ws(E',\n    ',
           format('STORAGE %s', format_type(CASE WHEN c.opckeytype <> 0 THEN c.opckeytype ELSE c.opcintype END, NULL)),
           (SELECT string_agg(format('OPERATOR %s %s%s', m.amopstrategy, m.amopopr::regoperator,
                     CASE WHEN m.amopsortfamily <> 0 THEN (SELECT format(' FOR ORDER BY %I.%I', sn.nspname, sf.opfname)
                       FROM pg_opfamily sf JOIN pg_namespace sn ON sn.oid = sf.opfnamespace WHERE sf.oid = m.amopsortfamily) END), E',\n    ' ORDER BY m.amopstrategy)
            FROM pg_amop m JOIN pg_depend d ON d.classid = m.tableoid AND d.objid = m.oid AND d.refclassid = c.tableoid AND d.refobjid = c.oid),
           (SELECT string_agg(format('FUNCTION %s (%s, %s) %s', m.amprocnum, format_type(m.amproclefttype, NULL), format_type(m.amprocrighttype, NULL),
                     m.amproc::oid::regprocedure), E',\n    ' ORDER BY m.amprocnum)
            FROM pg_amproc m JOIN pg_depend d ON d.classid = m.tableoid AND d.objid = m.oid AND d.refclassid = c.tableoid AND d.refobjid = c.oid)))
FROM pg_opclass c JOIN pg_namespace n ON n.oid = c.opcnamespace JOIN pg_am a ON a.oid = c.opcmethod
     JOIN pg_opfamily f ON f.oid = c.opcfamily JOIN pg_namespace fn ON fn.oid = f.opfnamespace
WHERE c.oid >= 16384 AND n.nspname !~ '^pg_'
