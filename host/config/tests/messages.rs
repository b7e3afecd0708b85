//! Every message about a configuration, as the operator sees it. A changed message shows up here as a changed snapshot.

#![expect(clippy::expect_used, clippy::panic, reason = "tests")]

use bulkhead_config::{Config, DiagnosticLevel, Explanation, Style, parse};

/// A configuration that is right, to be broken in one place.
const GOOD: &str = r#"version = 1

[vault.databases]
key = { file = "keys/databases" }
sinks = ["nearline"]

[sink.nearline]
plugin = "local"
directory.root = { path = "/srv/bulkhead", access = "read-write" }

[pipeline.shop]
plugin = "postgres"
config = { mode = "physical", user = "backup" }
endpoint.server = { address = "127.0.0.1:5432", tls = { mode = "disable" } }
secret.password = { env = "PGPASSWORD", reveal = true }
vault = "databases"
"#;

/// What is said about `text`.
fn message(text: &str) -> String {
    match parse("bulkhead.toml", text) {
        Ok(_) => panic!("this was accepted:\n{text}"),
        Err(diagnostics) => diagnostics.render(Style::Plain, 140),
    }
}

/// What is said about the good configuration with `find` replaced.
fn broken(find: &str, replacement: &str) -> String {
    assert!(GOOD.contains(find), "nothing to break: {find}");
    message(&GOOD.replacen(find, replacement, 1))
}

fn good() -> Config {
    parse("bulkhead.toml", GOOD).expect("the good configuration is good")
}

macro_rules! breaks {
    ($($name:ident: $find:literal => $replacement:literal;)*) => { $(
        #[test]
        fn $name() {
            insta::assert_snapshot!(broken($find, $replacement));
        }
    )* };
}

breaks! {
    syntax_errors_come_all_at_once: "key = { file = \"keys/databases\" }" => "key = { file = keys/databases }\nresidency = \n";
    an_unclosed_bracket_makes_a_handful_of_errors: "[\"nearline\"]" => "[\"nearline\"";
    a_duplicate_key_is_an_error: "plugin = \"local\"" => "plugin = \"local\"\nplugin = \"s3\"";
    a_version_is_needed: "version = 1" => "";
    another_version_is_refused: "version = 1" => "version = 2";
    an_unknown_table_suggests: "[pipeline.shop]" => "[pipelines.shop]";
    an_unknown_key_suggests: "vault = \"databases\"" => "vault = \"databases\"\nretantion = { last = 3 }";
    an_unknown_key_lists_what_is_allowed: "plugin = \"local\"" => "plugin = \"local\"\ncolour = 1";
    a_wrong_type_says_what_it_is: "plugin = \"local\"" => "plugin = 1";
    a_missing_key_shows_an_example: "plugin = \"postgres\"\n" => "";
    a_missing_vault_lists_them: "vault = \"databases\"" => "";
    a_log_that_is_no_other_pipeline: "vault = \"databases\"" => "vault = \"databases\"\nwal = \"shop\"";
    a_dangling_vault_suggests: "vault = \"databases\"" => "vault = \"database\"";
    a_dangling_sink_suggests: "[\"nearline\"]" => "[\"nearlin\", \"elsewhere\"]";
    a_sink_named_twice: "[\"nearline\"]" => "[\"nearline\", \"nearline\"]";
    no_sinks: "[\"nearline\"]" => "[]";
    a_bad_name_gets_a_better_one: "[pipeline.shop]" => "[pipeline.My_Shop]";
    a_plugin_name_is_not_a_path: "plugin = \"postgres\"" => "plugin = \"./postgres.wasm\"";
    a_literal_secret_is_refused_and_not_shown: "{ file = \"keys/databases\" }" => "\"hunter2\"";
    a_literal_secret_under_a_wrong_key_is_not_shown: "{ file = \"keys/databases\" }" => "{ value = \"hunter2\" }";
    a_secret_from_two_places: "{ env = \"PGPASSWORD\", reveal = true }" => "{ env = \"PGPASSWORD\", file = \"/etc/pw\", reveal = true }";
    a_secret_from_nowhere: "{ file = \"keys/databases\" }" => "{ }";
    an_empty_command: "{ file = \"keys/databases\" }" => "{ command = [] }";
    a_secret_that_is_not_revealed: ", reveal = true" => "";
    an_address_without_port: "127.0.0.1:5432" => "127.0.0.1";
    an_endpoint_in_two_places: "address = \"127.0.0.1:5432\"" => "address = \"127.0.0.1:5432\", socket = \"/run/postgresql\"";
    an_endpoint_nowhere: "address = \"127.0.0.1:5432\", " => "";
    a_tls_mode_that_is_none: "mode = \"disable\"" => "mode = \"verify\"";
    an_authority_that_is_never_used: "mode = \"disable\"" => "mode = \"prefer\", ca = \"ca.pem\"";
    an_authority_that_is_missing: "mode = \"disable\"" => "mode = \"verify-ca\"";
    auth_in_the_clear: "address = \"127.0.0.1:5432\", tls = { mode = \"disable\" }" => "url = \"http://a\", auth = { bearer = { env = \"TOKEN\" } }";
    auth_to_anybody: "address = \"127.0.0.1:5432\", tls = { mode = \"disable\" }" => "url = \"https://a\", tls.mode = \"require\", auth = { bearer = { env = \"TOKEN\" } }";
    half_a_client_certificate: "mode = \"disable\"" => "mode = \"require\", certificate = \"c.pem\"";
    auth_without_http: "tls = { mode = \"disable\" }" => "auth = { bearer = { env = \"TOKEN\" } }";
    auth_in_no_way: "address = \"127.0.0.1:5432\", tls = { mode = \"disable\" }" => "url = \"https://a\", auth = { digest = 1 }";
    a_url_with_credentials: "address = \"127.0.0.1:5432\", tls = { mode = \"disable\" }" => "url = \"https://me:hunter2@example.org\"";
    a_url_without_scheme: "address = \"127.0.0.1:5432\", tls = { mode = \"disable\" }" => "url = \"example.org\"";
    a_pattern_for_everything: "tls = { mode = \"disable\" }" => "discovered = [\"*:*\", \"10.0.0.*:6379\"]";
    an_access_that_is_none: "read-write" => "write";
    a_folder_without_access: ", access = \"read-write\"" => "";
    a_duration_without_unit: "vault = \"databases\"" => "vault = \"databases\"\nlimits = { wall-clock = \"10\", cpu = 5, call-timeout = \"3 m\" }";
    a_size_without_unit: "vault = \"databases\"" => "vault = \"databases\"\nlimits = { memory = \"128\", bytes-written = \"1 GIB\" }";
    a_limit_of_nothing: "vault = \"databases\"" => "vault = \"databases\"\nlimits = { memory = \"0 MiB\", connections = 0 }";
    a_rate_is_per_second: "plugin = \"local\"" => "plugin = \"local\"\nbandwidth = \"10 MiB\"";
    a_rate_of_nothing: "plugin = \"local\"" => "plugin = \"local\"\nbandwidth = \"0 MiB/s\"";
    a_timetable_with_bad_times: "plugin = \"local\"" => "plugin = \"local\"\nbandwidth = { \"8:00\" = \"2 MiB/s\", \"18:00\" = \"off\", \"25:00\" = 3 }";
    a_timetable_without_times: "plugin = \"local\"" => "plugin = \"local\"\nbandwidth = { }";
    a_bad_cron: "vault = \"databases\"" => "vault = \"databases\"\nschedule = { cron = \"0 25 * * *\", timezone = \"Europe/Berln\" }";
    a_cron_with_too_few_fields: "vault = \"databases\"" => "vault = \"databases\"\nschedule = { cron = \"0 4 * *\" }";
    a_retention_of_nothing: "vault = \"databases\"" => "vault = \"databases\"\nretention = { }";
    a_retention_by_an_unknown_word: "vault = \"databases\"" => "vault = \"databases\"\nretention = \"forever\"";
    a_retention_by_an_unknown_rule: "vault = \"databases\"" => "vault = \"databases\"\nretention = { versions = 3 }";
    a_negative_number: "vault = \"databases\"" => "vault = \"databases\"\nretention = { last = -3 }";
    expectations_are_shares: "vault = \"databases\"" => "vault = \"databases\"\nexpect = { max-shrink = \"120 %\" }";
    a_digest_that_is_none: "[sink.nearline]" => "[plugin.mine]\npath = \"mine.wasm\"\ndigest = \"sha256:123\"\n\n[sink.nearline]";
    a_config_that_is_no_table: "{ mode = \"physical\", user = \"backup\" }" => "\"physical\"";
    a_target_with_an_unknown_key: "vault = \"databases\"" => "vault = \"databases\"\n[pipeline.shop.target.scratch]\ndirectories.data = 1";
    a_template_with_two_names: "vault = \"databases\"" => "vault = \"databases\"\neach.ca = [\"a\"]\neach.cb = [\"b\"]";
    a_template_with_a_key_twice: "vault = \"databases\"" => "vault = \"databases\"\neach.ca = [\"a\", \"a\", \"B\"]";
    an_error_in_a_template_is_said_once: "vault = \"databases\"" => "vault = \"nowhere\"\neach.ca = [\"a\", \"b\"]";
    a_vault_fed_from_nowhere: "sinks = [\"nearline\"]" => "sinks = [\"nearline\"]\ncopy = { from = \"cold\", select = { weekly = 0 }, to = 1 }";
    a_vault_fed_from_nothing: "sinks = [\"nearline\"]" => "sinks = [\"nearline\"]\ncopy = { select = { weekly = 52 } }";
    a_vault_fed_from_itself: "sinks = [\"nearline\"]" => "sinks = [\"nearline\"]\ncopy = { from = \"databases\" }";
    vaults_fed_from_each_other: "sinks = [\"nearline\"]" => "sinks = [\"nearline\"]\ncopy = { from = \"cold\" }\n[vault.cold]\nkey = { env = \"K\" }\nsinks = [\"archive\"]\ncopy = { from = \"databases\" }\n[sink.archive]\nplugin = \"local\"";
    a_copy_in_the_wrong_region: "sinks = [\"nearline\"]" => "sinks = [\"nearline\"]\nresidency = [\"kul\"]\n[vault.cold]\nkey = { env = \"K\" }\nsinks = [\"archive\"]\ncopy = { from = \"databases\" }\n[sink.archive]\nplugin = \"local\"\nregion = \"eu\"";
    a_sink_of_two_vaults: "[sink.nearline]" => "[vault.second]\nkey = { env = \"K\" }\nsinks = [\"nearline\"]\n\n[sink.nearline]";
    a_folder_of_two_sinks: "[pipeline.shop]" => "[sink.other]\nplugin = \"local\"\ndirectory.root = { path = \"/srv/./bulkhead/\", access = \"read-write\" }\n\n[pipeline.shop]";
    a_run_that_outlives_maintenance: "vault = \"databases\"" => "vault = \"databases\"\nlimits = { wall-clock = \"23 h\" }";
    all_runs_that_outlive_maintenance: "version = 1" => "version = 1\nlimits.wall-clock = \"1 d\"";
    a_size_that_rounds_to_nothing: "vault = \"databases\"" => "vault = \"databases\"\nexpect.min-bytes = \"0.4 B\"";
    a_url_in_the_clear_with_tls: "address = \"127.0.0.1:5432\", tls = { mode = \"disable\" }" => "url = \"http://a\", tls = { mode = \"verify-full\" }";
    a_url_with_tls_without_it: "address = \"127.0.0.1:5432\"" => "url = \"https://a\"";
    a_password_under_a_wrong_key_of_auth: "address = \"127.0.0.1:5432\", tls = { mode = \"disable\" }" => "url = \"https://a\", auth = { basic = { user = \"me\", pasword = \"hunter2\" } }";
    a_password_in_a_table_that_knows_none: "vault = \"databases\"" => "vault = \"databases\"\npassword = \"hunter2\"";
    a_password_beside_another_mistake: "user = \"backup\" }" => "user = \"backup\", password = \"hunter2\" }, colour = 1 }";
    a_key_under_a_wrong_name: "key = { file" => "keys = \"hunter2\"\nkey = { file";
    a_sink_in_the_wrong_region: "plugin = \"local\"" => "plugin = \"local\"\nregion = \"us\"\n[vault.local]\nkey = { env = \"K\" }\nsinks = [\"nearline\"]\nresidency = [\"kul\"]\n[sink.other]\nplugin=\"local\"";
    a_sink_without_region: "sinks = [\"nearline\"]" => "sinks = [\"nearline\"]\nresidency = [\"kul\"]";
}

#[test]
fn many_errors_come_at_once_and_in_order() {
    let text = GOOD
        .replace("[\"nearline\"]", "[\"nearlin\"]")
        .replace("read-write", "rw")
        .replace("reveal = true", "reveal = 1")
        .replace("vault = \"databases\"", "valt = \"databases\"");
    insta::assert_snapshot!(message(&text));
}

#[test]
fn colours_change_nothing_but_colours() {
    let diagnostics = parse("bulkhead.toml", &GOOD.replace("version = 1", "version = 2")).expect_err("version 2 is unknown");
    let coloured = diagnostics.render(Style::Coloured, 140);
    assert!(coloured.contains("\u{1b}["));
    assert!(!diagnostics.render(Style::Plain, 140).contains('\u{1b}'));
}

#[test]
fn diagnostics_are_data_too() {
    let diagnostics = parse("bulkhead.toml", &GOOD.replace("read-write", "rw")).expect_err("`rw` is no access");
    insta::assert_json_snapshot!(diagnostics.to_json());
}

#[test]
fn a_plugin_that_nobody_defines() {
    insta::assert_snapshot!(good().unknown_plugins(&["local", "postgre"]).to_string());
}

#[test]
fn a_fault_of_a_plugin_is_shown_at_its_setting() {
    let config = good();
    let origin = &config.pipelines[0].origin;
    let explain = |setting| {
        let causes = ["it said so".to_owned()];
        let failure = Explanation {
            setting,
            message: "the server refused it",
            causes: &causes,
            hint: Some("do this"),
            level: DiagnosticLevel::Error,
        };
        config.explain(origin, &failure).to_string()
    };
    insta::assert_snapshot!(
        [
            explain(Some("mode")),
            explain(Some("secret.password")),
            explain(Some("tables.exclude")),
            explain(Some("expect.min-entries")),
            explain(None)
        ]
        .join("\n\n")
    );
}
