//! What can be said on the command line, and what a person reads with `--help`.
//! Holds no logic: the commands are in `commands`, the settings behind the flags in `config`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A self-hosted backend whose only truth is a streaming log.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server. The admin key comes from HEADWATER_ADMIN_KEY.
    Serve(Serve),
    /// Run the server for development: makes an admin key, says what to do next.
    Dev(Serve),
    /// Build tables anew from the log. The server must be stopped.
    Rebuild {
        #[command(subcommand)]
        what: Rebuild,
    },
    /// Make or bring up to date the keyspace and the tables of a cluster. Can be repeated.
    Migrate(ConfigFile),
    /// Check the log record by record. The server must be stopped.
    Verify(Storage),
    /// Show a project's events, one line each.
    Events(Events),
    /// Write a project's documents or its log to a file, one JSON object a line.
    Export {
        #[command(subcommand)]
        what: Export,
    },
    /// Read documents or a log that were exported.
    Import {
        #[command(subcommand)]
        what: Import,
    },
    /// Ask a server whether it is ready; exit code 0 when it is.
    Health {
        /// The server.
        #[arg(long, alias = "url", env = "HEADWATER_URL", default_value = DEFAULT_URL)]
        server: String,
    },
    /// Test access rules, and try drafts of them.
    Rules {
        #[command(subcommand)]
        what: Rules,
    },
    /// Show or check the configuration.
    Config {
        #[command(subcommand)]
        what: Config,
    },
    /// Print the description of the HTTP API (OpenAPI 3.1).
    Openapi,
}

/// Where `dev` and `serve` listen by default.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) storage: Storage,
    /// Where clients reach it [default: 127.0.0.1:8080].
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// What this node of a cluster does [default: api,writer,realtime].
    #[arg(long, value_name = "ROLES")]
    pub(crate) roles: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Storage {
    /// The folder of log and tables [default: ./data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigFile,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// Settings that differ from the defaults.
    #[arg(long, value_name = "FILE", env = "HEADWATER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rebuild {
    /// The tables of documents, their history, projects and collections.
    Documents {
        #[command(flatten)]
        storage: Storage,
        /// Compare with the tables that served until now; exit code 1 when they differ.
        #[arg(long)]
        verify: bool,
    },
}

/// How a command reaches a server.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// The server.
    #[arg(long, alias = "url", env = "HEADWATER_URL", default_value = DEFAULT_URL)]
    pub(crate) server: String,
    /// An admin or secret key.
    #[arg(long, env = "HEADWATER_KEY", hide_env_values = true)]
    pub(crate) key: String,
    /// The project.
    #[arg(long, short)]
    pub(crate) project: String,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) remote: Remote,
    /// The first position to show; `start` for all.
    #[arg(long, value_name = "POSITION", default_value = "start")]
    pub(crate) from: String,
    /// Only these types, for example document.created,document.updated.
    #[arg(long)]
    pub(crate) types: Option<String>,
    /// Go on with what happens next.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Print each event whole, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Export {
    /// The documents of a collection as they are now: {"id","version",…,"data"}.
    Documents {
        #[command(flatten)]
        remote: Remote,
        /// The collection.
        #[arg(long, short)]
        collection: String,
        /// Where to; standard output without.
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Every event of the project, as CloudEvents.
    Log {
        #[command(flatten)]
        remote: Remote,
        /// Where to; standard output without.
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// Documents, one a line: {"id":"…","data":{…}}. What has the same id is replaced.
    Documents {
        #[command(flatten)]
        remote: Remote,
        /// The collection.
        #[arg(long, short)]
        collection: String,
        /// Write it all once more, though this file was imported a short while ago.
        #[arg(long)]
        again: bool,
        /// One JSON object a line.
        file: PathBuf,
    },
    /// A project's whole log, as `export log` wrote it, into a new project. Needs the admin key.
    Log {
        #[command(flatten)]
        remote: Remote,
        /// One CloudEvent a line.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// Run tests of access rules: NAME.test.json beside NAME.rules.json. Needs no server. Exit
    /// code 1 when a test fails.
    Test {
        /// Files, or folders of them [default: rules].
        #[arg(value_name = "FILE or FOLDER")]
        files: Vec<PathBuf>,
    },
    /// Tell which requests of the last day a draft of a collection's rules would decide otherwise.
    /// Changes nothing.
    Try {
        #[command(flatten)]
        remote: Remote,
        /// The collection.
        #[arg(long, short)]
        collection: String,
        /// Exit code 1 when something would change.
        #[arg(long)]
        exit_code: bool,
        /// The draft, as NAME.rules.json.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check it; says what is wrong and where.
    Check(ConfigFile),
    /// Print the effective configuration, with the source of each value.
    Show(ConfigFile),
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Cli, Command, Export, Import, Rebuild};

    fn parse(line: &str) -> Result<Command, String> {
        let words = line.split_whitespace();
        Cli::try_parse_from(words).map(|cli| cli.command).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lines_that_are_documented_parse() {
        let line = "headwater serve --data /var/lib/h --listen 0.0.0.0:8080 --config h.toml";
        let Ok(Command::Serve(serve)) = parse(line) else { panic!("{line}") };
        assert_eq!(serve.listen.as_deref(), Some("0.0.0.0:8080"));
        assert!(matches!(parse("headwater dev"), Ok(Command::Dev(_))));

        let line = "headwater rebuild documents --verify --data d";
        let Ok(Command::Rebuild { what: Rebuild::Documents { verify, .. } }) = parse(line) else {
            panic!("{line}")
        };
        assert!(verify);

        let line = "headwater import documents --server http://h:1 --key k --project demo \
                    --collection cities cities.ndjson";
        let Ok(Command::Import { what: Import::Documents { remote, collection, .. } }) =
            parse(line)
        else {
            panic!("{line}")
        };
        assert_eq!((remote.project.as_str(), collection.as_str()), ("demo", "cities"));

        let line = "headwater export log --key k -p demo --out demo.ndjson";
        assert!(matches!(parse(line), Ok(Command::Export { what: Export::Log { .. } })));
        for line in [
            "headwater verify --data d",
            "headwater events --from 0-12 --follow --json --types a,b --key k --project p",
            "headwater health --server http://127.0.0.1:8080",
            "headwater health --url http://127.0.0.1:8080",
            "headwater config check --config h.toml",
            "headwater config show",
            "headwater migrate --config h.toml",
            "headwater serve --roles api,realtime",
            "headwater openapi",
            "headwater rules test",
            "headwater rules test rules notes.test.json",
            "headwater rules try n.rules.json --url http://h:1 --key k -p p -c notes --exit-code",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_refused() {
        for line in ["headwater", "headwater sreve", "headwater import documents --key k file"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
