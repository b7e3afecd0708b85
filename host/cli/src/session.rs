//! What a command works with: [`Session`] reads the configuration and brings the parts together.

use std::{
    borrow::Cow,
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use bulkhead_config::{Config, Pipeline};
use bulkhead_pipeline::{BuiltinPlugin, Host, Operation, Progress, Secrets};
use bulkhead_runtime::{Cancellation, Runtime, RuntimeError, RuntimeOptions};

use crate::{arguments::GlobalArguments, error::CommandError, exit::Exit, output::Output};

/// One call of the program.
pub(crate) struct Session {
    pub(crate) arguments: GlobalArguments,
    pub(crate) output: Output,
    pub(crate) cancellation: Cancellation,
}

/// Where a configuration is looked for.
const CONFIG_FILES: [&str; 2] = ["bulkhead.toml", "/etc/bulkhead/bulkhead.toml"];

impl Session {
    pub(crate) fn new(arguments: GlobalArguments, output: Output) -> Self {
        Self {
            arguments,
            output,
            cancellation: Cancellation::new(),
        }
    }

    /// The configuration, read and checked.
    pub(crate) fn config(&self) -> Result<Arc<Config>, CommandError> {
        let path = self.config_path()?;
        let unreadable = |error: &std::io::Error| {
            CommandError::system(&format!("read the configuration {}", path.display()), error)
                .with(Exit::Config, "name another one with `-c FILE`")
        };
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&error))?;
        bulkhead_config::parse(&path.display().to_string(), &text)
            .map(Arc::new)
            .map_err(CommandError::Config)
    }

    /// How another program calls this one with this configuration: quoted for a shell, without a command.
    pub(crate) fn program(&self) -> Result<String, CommandError> {
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|error| CommandError::system("find out where this program runs", &error));
        let program = env::current_exe().map_err(|error| CommandError::system("find out where this program is", &error))?;
        let config = absolute(&self.config_path()?)?;
        let mut words = vec![quoted(&program), "--quiet".to_owned(), "--config".to_owned(), quoted(&config)];
        if let Some(cache) = &self.arguments.cache_dir {
            words.extend(["--cache-dir".to_owned(), quoted(&absolute(cache)?)]);
        }
        Ok(words.join(" "))
    }

    fn config_path(&self) -> Result<PathBuf, CommandError> {
        if let Some(path) = &self.arguments.config {
            return Ok(path.clone());
        }
        CONFIG_FILES
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or_else(|| CommandError::Message {
                exit: Exit::Config,
                message: format!("there is no configuration: neither {} exists", CONFIG_FILES.join(" nor ")),
                causes: Vec::new(),
                hint: Some("write one (examples/ has some), or name it with `-c FILE`".to_owned()),
            })
    }

    /// An operation on `config` that reads what is stored from the sink called `sink`, of each vault in `vaults`; from the first one where none is named.
    pub(crate) fn reading<'v>(
        &self,
        config: &Arc<Config>,
        sink: Option<&str>,
        vaults: impl IntoIterator<Item = &'v str>,
    ) -> Result<Operation, CommandError> {
        if let Some(sink) = sink {
            check_sink(config, sink, vaults)?;
        }
        Ok(Operation {
            read_from: sink.map(str::to_owned),
            ..self.operation(config)?
        })
    }

    /// An operation on `config`.
    pub(crate) fn operation(&self, config: &Arc<Config>) -> Result<Operation, CommandError> {
        Ok(Operation {
            host: Arc::new(self.host()?),
            config: config.clone(),
            cancellation: self.cancellation.clone(),
            progress: Progress::default(),
            read_from: None,
        })
    }

    /// The plugin runtime with the plugins that are built in.
    pub(crate) fn host(&self) -> Result<Host, CommandError> {
        let cache = self.cache_folder()?;
        let runtime = Runtime::new(RuntimeOptions { cache: cache.clone() }).map_err(|error| {
            let hint = match error {
                RuntimeError::Engine(_) => "this machine lacks something that the WebAssembly engine needs",
                RuntimeError::Cache { .. } | RuntimeError::ForeignCache { .. } => "name another folder with `--cache-dir FOLDER`",
            };
            CommandError::system("start the plugin runtime", &error).with(Exit::Internal, hint)
        })?;
        Ok(Host {
            runtime,
            builtin: builtin_plugins(),
            secrets: Secrets::new(|name| env::var_os(name)),
            name: host_name(),
            scratch: cache,
        })
    }

    fn cache_folder(&self) -> Result<PathBuf, CommandError> {
        if let Some(folder) = &self.arguments.cache_dir {
            return Ok(folder.clone());
        }
        let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        if let Some(folder) = absolute("XDG_CACHE_HOME") {
            return Ok(folder.join("bulkhead"));
        }
        if rustix::process::geteuid().is_root() {
            return Ok(Path::new("/var/cache/bulkhead").to_owned());
        }
        absolute("HOME").map(|home| home.join(".cache/bulkhead")).ok_or_else(|| {
            CommandError::usage(
                "there is no place for compiled plugins: neither XDG_CACHE_HOME nor HOME is set",
                "name a folder with `--cache-dir FOLDER`",
            )
        })
    }
}

/// A path as a word for a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

pub(crate) fn builtin_plugins() -> Vec<BuiltinPlugin> {
    bulkhead_builtin::plugins()
        .iter()
        .map(|plugin| BuiltinPlugin {
            name: plugin.name,
            component: plugin.wasm,
        })
        .collect()
}

/// A sink to read from has to be one of every vault that is read.
fn check_sink<'v>(config: &Config, sink: &str, vaults: impl IntoIterator<Item = &'v str>) -> Result<(), CommandError> {
    if config.sink(sink).is_none() {
        return Err(unknown("sink", sink, config.sinks.iter().map(|sink| sink.name.as_str())));
    }
    let lacks_it = |name: &&str| !config.vault(name).is_some_and(|vault| vault.sinks.iter().any(|name| name == sink));
    match vaults.into_iter().find(lacks_it) {
        Some(vault) => Err(CommandError::usage(
            format!("the vault `{vault}` is not on the sink `{sink}`"),
            "name the pipelines whose vault is on it",
        )),
        None => Ok(()),
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The pipelines that `names` stand for, in the order of the file; all of them where `names` is empty.
pub(crate) fn selected<'c>(config: &'c Config, names: &[String]) -> Result<Vec<&'c Pipeline>, CommandError> {
    if names.is_empty() {
        return Ok(config.pipelines.iter().collect());
    }
    for name in names {
        if config.pipelines_named(name).is_empty() {
            return Err(unknown(
                "pipeline",
                name,
                config.pipelines.iter().map(|pipeline| pipeline.name.as_str()),
            ));
        }
    }
    let matches = |pipeline: &&Pipeline| {
        names
            .iter()
            .any(|name| *name == pipeline.name || Some(name) == pipeline.template.as_ref())
    };
    Ok(config.pipelines.iter().filter(matches).collect())
}

/// The same for a command that must not say that all is well when it looked at nothing: fails where the configuration has no pipeline.
pub(crate) fn selected_some<'c>(config: &'c Config, names: &[String]) -> Result<Vec<&'c Pipeline>, CommandError> {
    if names.is_empty() && config.pipelines.is_empty() {
        return Err(CommandError::Message {
            exit: Exit::Config,
            message: "the configuration has no pipeline".to_owned(),
            causes: Vec::new(),
            hint: Some("write one, `[pipeline.NAME]` (docs/configuration.md), or name another configuration with `-c FILE`".to_owned()),
        });
    }
    selected(config, names)
}

/// The one pipeline called `name`.
pub(crate) fn one_pipeline<'c>(config: &'c Config, name: &str) -> Result<&'c Pipeline, CommandError> {
    match config.pipelines_named(name)[..] {
        [one] => Ok(one),
        [] => Err(unknown(
            "pipeline",
            name,
            config.pipelines.iter().map(|pipeline| pipeline.name.as_str()),
        )),
        [first, ..] => Err(CommandError::usage(
            format!("`{name}` stands for several pipelines"),
            format!("name one of them, such as `{}`", first.name),
        )),
    }
}

/// The one pipeline called `name`; where `vault` is named, as if that were its own: copies are there by the same names.
pub(crate) fn pipeline_in<'c>(config: &'c Config, name: &str, vault: Option<&str>) -> Result<Cow<'c, Pipeline>, CommandError> {
    let pipeline = one_pipeline(config, name)?;
    let Some(vault) = vault else { return Ok(Cow::Borrowed(pipeline)) };
    if config.vault(vault).is_none() {
        return Err(unknown("vault", vault, config.vaults.iter().map(|vault| vault.name.as_str())));
    }
    Ok(Cow::Owned(Pipeline {
        vault: vault.to_owned(),
        ..pipeline.clone()
    }))
}

/// A name on the command line that the configuration does not have.
pub(crate) fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> CommandError {
    let hint = match bulkhead_config::nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let known: Vec<&str> = known.collect();
            if known.is_empty() {
                format!("the configuration has no {kind}s")
            } else {
                format!("there is: {}", known.join(", "))
            }
        }
    };
    CommandError::usage(format!("there is no {kind} `{name}` in the configuration"), hint)
}
