//! `dev`: the server for a developer's machine. Makes an admin key once, keeps it beside the data,
//! and says what to do next in lines that can be copied.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use messages::Inbox;
use messages::inbox::Kept;

use super::serve;
use crate::cli::Serve;

/// The folder of log and tables when none is named, as in the default configuration.
const DATA: &str = "data";
const KEY_FILE: &str = "admin.key";
const KEY_PREFIX: &str = "hw_admin_";
const KEY_BYTES: usize = 24;

pub(super) fn run(command: &Serve) -> anyhow::Result<ExitCode> {
    let mut flags = serve::flags(command)?;
    flags.extend(super::text_flags("dev", None));
    let loaded = super::configuration(&command.storage.config, flags)?;
    crate::logging::init(&loaded.config.logging)?;
    let data = command.storage.data.clone().unwrap_or_else(|| PathBuf::from(DATA));
    let (key, origin) = match serve::key_from_environment()? {
        Some(key) => (key, serve::KEY_VARIABLE.to_owned()),
        None => {
            let path = data.join(KEY_FILE);
            let key = kept_key(&path).with_context(|| path.display().to_string())?;
            (key, path.display().to_string())
        }
    };
    let shown = key.clone();
    // Nobody may be reached from a developer's machine, and nobody needs to be: mail is shown.
    let inbox = Arc::new(Inbox::with_watcher(show));
    serve::serve(&loaded.config, key, Some(inbox), move |address| {
        // Whether anybody reads it does not matter to the server.
        let _ = std::io::stdout().write_all(welcome(address, &shown, &origin).as_bytes());
    })
}

/// The key in the file; made when there is none. Nobody else may read it.
fn kept_key(path: &Path) -> anyhow::Result<String> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let key = new_key()?;
            writeln!(file, "{key}")?;
            file.sync_all()?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = fs::read_to_string(path)?;
            let key = text.trim();
            ensure!(key.starts_with(KEY_PREFIX), "not an admin key; remove it to get a new one");
            Ok(key.to_owned())
        }
        Err(error) => Err(error.into()),
    }
}

fn new_key() -> anyhow::Result<String> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{KEY_PREFIX}{hex}"))
}

/// Shows what would have been sent.
fn show(kept: &Kept) {
    let Kept { to, subject, text, .. } = kept;
    let mail = format!("\nTo: {to}\nSubject: {subject}\n\n{text}\n");
    let _ = std::io::stdout().write_all(mail.as_bytes());
}

fn welcome(address: SocketAddr, key: &str, origin: &str) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    let url = format!("http://{host}:{}", address.port());
    format!(
        r#"
Headwater is running.

  URL        {url}
  admin key  {key}
             (from {origin})

Next, in another terminal: a project, a secret key for it, and a first document.

URL={url}
ADMIN={key}
curl -sS $URL/v1/projects -H "Authorization: Bearer $ADMIN" \
  -H 'Content-Type: application/json' -d '{{"id":"demo","name":"Demo"}}'
KEY=$(curl -sS $URL/v1/projects/demo/keys -H "Authorization: Bearer $ADMIN" \
  -H 'Content-Type: application/json' -d '{{"kind":"secret","name":"laptop"}}' \
  | sed 's/.*"key":"\([^"]*\)".*/\1/')
curl -sS $URL/v1/projects/demo/collections/notes/documents -H "Authorization: Bearer $KEY" \
  -H 'Content-Type: application/json' -d '{{"text":"hello"}}'

Ctrl-C stops it.

"#
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{kept_key, welcome};

    #[test]
    fn a_key_is_made_once_and_kept_to_ourselves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("admin.key");
        let key = kept_key(&path).unwrap();
        assert_eq!(key.len(), "hw_admin_".len() + 48);
        assert_eq!(kept_key(&path).unwrap(), key);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "").unwrap();
        assert!(kept_key(&path).is_err());
    }

    #[test]
    fn the_next_step_can_be_copied() {
        let text = welcome("0.0.0.0:81".parse().unwrap(), "hw_admin_x", "data/admin.key");
        assert!(text.contains("URL=http://127.0.0.1:81\n"));
        assert!(text.contains("ADMIN=hw_admin_x\n"));
        assert!(text.contains(r#"-d '{"id":"demo","name":"Demo"}'"#));
    }
}
