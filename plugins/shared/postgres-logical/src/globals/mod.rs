//! What belongs to the cluster and not to one of its databases: [`dump`]; and a database's own statements: [`database`].

use bulkhead_sdk::{Result, ResultExt, types::Finding};

use super::{
    catalog::with_passed_on,
    database::Run,
    script::{Script, Title},
    session::{Sql, for_major, number, quoted, text},
};

/// The superuser that every cluster begins with.
const FIRST_ROLE: u32 = 10;

/// Whether a new cluster has a database of this name.
fn is_always_there(name: &str) -> bool {
    matches!(name, "postgres" | "template1")
}

/// The statements about a database that make it in a new cluster, of those that [`database`] returns.
pub(crate) fn statements(name: &str, statements: &[(String, String)]) -> impl Iterator<Item = String> {
    let name_in_sql = quoted(name);
    let missing = statements.iter().skip(usize::from(is_always_there(name)));
    missing.map(move |(before, after)| format!("{before}{name_in_sql}{after}"))
}

/// Writes roles, memberships, tablespaces and privileges.
pub(crate) fn dump(run: &mut Run<'_>, sql: &mut Sql) -> Result<()> {
    let mut script = Script::create(run.settings.layout.globals())?;
    roles(run, sql, &mut script)?;
    for (kind, query) in [
        ("ROLE SETTING", include_str!("sql/role_settings.sql")),
        ("ROLE MEMBERSHIP", include_str!("sql/memberships.sql")),
    ] {
        for row in sql
            .rows(&with_settings(query, run.server.major))
            .context(|| "reading roles failed")?
        {
            let mut values = row.into_iter();
            let (name, statement) = (text(values.next().flatten()), text(values.next().flatten()));
            script.add(&mut run.index, &Title::new(kind, &name), &statement)?;
        }
    }
    tablespaces(run, sql, &mut script)?;
    let privileges = sql.rows(&with_passed_on(include_str!("sql/global_privileges.sql"), run.server.major));
    for row in privileges.context(|| "reading privileges of tablespaces failed")? {
        let mut values = row.into_iter();
        let (name, statement) = (text(values.next().flatten()), text(values.next().flatten()));
        script.add(&mut run.index, &Title::new("ACL", &name), &statement)?;
    }
    run.proof.count(&script.finish()?);
    Ok(())
}

fn roles(run: &mut Run<'_>, sql: &mut Sql, script: &mut Script) -> Result<()> {
    let catalog = if run.server.sees_passwords {
        "pg_authid"
    } else {
        "(SELECT *, NULL::text AS password FROM pg_roles)"
    };
    let query = for_major(include_str!("sql/roles.sql"), run.server.major).replace("{roles}", catalog);
    let query = if run.server.sees_passwords {
        query
    } else {
        query.replace("r.rolpassword", "r.password")
    };
    if !run.server.sees_passwords {
        let message = format!("roles are stored without their passwords: `{}` may not read them", run.server.role);
        run.findings.push(
            Finding::warning("no-passwords", message)
                .with_hint("GRANT pg_read_all_data (from PostgreSQL 14 on), or set the passwords anew after a restore"),
        );
    }
    for row in sql.rows(&query).context(|| "reading roles failed")? {
        let (name, statement) = (text(row.first().cloned().flatten()), text(row.get(1).cloned().flatten()));
        // It is there before anything is restored, and CREATE ROLE has no IF NOT EXISTS.
        let first = number::<u32>(row.get(2).and_then(Option::as_ref)) == FIRST_ROLE;
        let statements = if first {
            statement
        } else {
            format!("CREATE ROLE {};\n{statement}", quoted(&name))
        };
        script.add(&mut run.index, &Title::new("ROLE", &name), &statements)?;
    }
    Ok(())
}

fn tablespaces(run: &mut Run<'_>, sql: &mut Sql, script: &mut Script) -> Result<()> {
    for row in sql
        .rows(include_str!("sql/tablespaces.sql"))
        .context(|| "reading tablespaces failed")?
    {
        let mut values = row.into_iter();
        let mut next = || text(values.next().flatten());
        let (name, create, more) = (next(), next(), next());
        // By itself: it cannot be part of a transaction.
        script.add(&mut run.index, &Title::new("TABLESPACE", &name), &create)?;
        if !more.is_empty() {
            script.add(&mut run.index, &Title::new("TABLESPACE", &name), &more)?;
        }
    }
    Ok(())
}

/// The statements about the database of this session, each cut in two where its name is. The first one makes it.
pub(crate) fn database(sql: &mut Sql, major: u32) -> Result<Vec<(String, String)>> {
    let rows = sql
        .rows(&with_settings(include_str!("sql/database.sql"), major))
        .context(|| "reading the database's own settings failed")?;
    let cut = |row: Vec<Option<String>>| {
        let mut values = row.into_iter().skip(1);
        (text(values.next().flatten()), text(values.next().flatten()))
    };
    Ok(rows.into_iter().map(cut).collect())
}

/// The text of a query for a server of this major version, which may read settings.
fn with_settings(query: &str, major: u32) -> String {
    with_passed_on(&query.replace("{setting}", include_str!("sql/setting.sql")), major)
}
