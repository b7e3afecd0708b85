SELECT p.tableoid, p.oid, 'POLICY', n.nspname, format('%s %s', c.relname, p.polname), format('POLICY %I ON %s', p.polname, c.oid::regclass), NULL,
       format('CREATE POLICY %I ON %s%s%s%s%s%s', p.polname, c.oid::regclass, CASE WHEN NOT p.polpermissive THEN ' AS RESTRICTIVE' END,
         CASE p.polcmd WHEN 'r' THEN ' FOR SELECT' WHEN 'a' THEN ' FOR INSERT' WHEN 'w' THEN ' FOR UPDATE' WHEN 'd' THEN ' FOR DELETE' END,
         CASE WHEN p.polroles <> '{0}' THEN (SELECT ' TO ' || string_agg(CASE WHEN role = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END, ', ') FROM unnest(p.polroles) role) END,
         ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'), c.oid
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.oid >= 16384
