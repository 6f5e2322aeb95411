//! `rules`: a developer's own tests of access rules, without a server, and a draft tried on what a
//! server was asked.

mod cases;
mod draft;
mod settings;
mod text;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};

use crate::cli::Rules;
use settings::Settings;
use text::{Problem, Text};

/// What the names of files end with.
const RULES: &str = ".rules.json";
const TESTS: &str = ".test.json";
/// The folder where nobody says another.
const FOLDER: &str = "rules";
/// Something is wrong with a file.
const BAD_FILE: u8 = 2;

pub(super) fn run(command: &Rules) -> anyhow::Result<ExitCode> {
    match command {
        Rules::Test { files } => test(files),
        Rules::Try { remote, collection, exit_code, file } => {
            super::wait(draft::run(remote, collection, *exit_code, file))
        }
    }
}

/// Runs all tests of the files; goes on with the next file when one is bad.
fn test(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let stems = stems(files)?;
    let (mut count, mut failed, mut bad) = (0, 0, 0);
    let mut out = std::io::stdout().lock();
    for stem in &stems {
        let verdicts = match verdicts(stem) {
            Ok(verdicts) => verdicts,
            Err(problem) => {
                bad += 1;
                out.flush()?;
                eprintln!("{problem}");
                continue;
            }
        };
        let file = format!("{stem}{TESTS}");
        for verdict in verdicts {
            count += 1;
            let name = verdict.name.replace(char::is_control, " ");
            match verdict.failure {
                None => writeln!(out, "ok      {file}: {name}")?,
                Some(why) => {
                    failed += 1;
                    writeln!(out, "FAILED  {file}: {name}: {why}")?;
                }
            }
        }
    }
    let (tests, files) = (counted(count, "test"), counted(bad, "bad file"));
    writeln!(out, "{tests}, {failed} failed, {files}")?;
    Ok(match (bad, failed) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::FAILURE,
        _ => ExitCode::from(BAD_FILE),
    })
}

/// Compiles the rules and runs their tests, if there are any.
fn verdicts(stem: &str) -> Result<Vec<cases::Verdict>, Problem> {
    let settings = Settings::read(Path::new(&format!("{stem}{RULES}")))?;
    let tests = PathBuf::from(format!("{stem}{TESTS}"));
    match tests.exists() {
        true => cases::run(&Text::read(&tests)?, &settings.rules),
        false => Ok(Vec::new()),
    }
}

/// The files' names without their endings, each once and in order.
fn stems(files: &[PathBuf]) -> anyhow::Result<BTreeSet<String>> {
    let folder = [PathBuf::from(FOLDER)];
    let mut stems = BTreeSet::new();
    for path in if files.is_empty() { &folder[..] } else { files } {
        if !path.is_dir() {
            ensure!(path.exists(), "{}: there is no such file or folder", path.display());
            let Some(stem) = stem(path) else {
                bail!("{}: expected a name that ends with {RULES} or {TESTS}", path.display())
            };
            stems.insert(stem.to_owned());
            continue;
        }
        let entries = path.read_dir().with_context(|| path.display().to_string())?;
        let before = stems.len();
        for entry in entries {
            let path = entry.with_context(|| path.display().to_string())?.path();
            stems.extend(stem(&path).map(str::to_owned));
        }
        ensure!(stems.len() > before, "{} has no file *{RULES}", path.display());
    }
    Ok(stems)
}

fn stem(path: &Path) -> Option<&str> {
    let path = path.to_str()?;
    path.strip_suffix(RULES).or_else(|| path.strip_suffix(TESTS))
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
