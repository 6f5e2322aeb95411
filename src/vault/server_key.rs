//! The server's key: 32 bytes that an operator keeps, in a file that nobody else reads or in the
//! configuration. It seals nothing itself; each use has a key derived from it.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::Error;
use crate::sealed::{KEY_BYTES, random};

/// What a key's text may begin with, so that people and secret scanners know it for what it is.
const PREFIX: &str = "hwkey_";
/// The largest key file that is read.
const FILE_BYTES_MAX: u64 = 1024;
/// Bytes of a key's id.
pub(crate) const ID_BYTES: usize = 4;

/// One server key with what is derived from it. Clones share it; the last one wipes it.
#[derive(Clone)]
pub struct ServerKey(Arc<Derived>);

struct Derived {
    /// Not secret: says which key something was sealed under.
    id: [u8; ID_BYTES],
    root: Zeroizing<[u8; KEY_BYTES]>,
    wrapping: Zeroizing<[u8; KEY_BYTES]>,
    index: Zeroizing<[u8; KEY_BYTES]>,
    secrets: Zeroizing<[u8; KEY_BYTES]>,
    tickets: Zeroizing<[u8; KEY_BYTES]>,
}

impl ServerKey {
    /// Reads a key: 32 bytes as base64 (either alphabet, with or without padding) or as 64 hex
    /// digits, `hwkey_` before it or not, white space around it or not.
    ///
    /// Errors: [`Error::ServerKey`], which never repeats the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refused = |reason: &str| Error::ServerKey { reason: reason.to_owned() };
        let text = text.trim();
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        let bytes = decode(text)
            .ok_or_else(|| refused("must be 32 bytes, as base64 or as 64 hex digits"))?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(refused("is one byte 32 times, which is no secret: generate one"));
        }
        Ok(Self::derive(bytes))
    }

    /// Makes a new key.
    ///
    /// Errors: [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        Ok(Self::derive(Zeroizing::new(random()?)))
    }

    /// Reads the key in a file, or makes the file with a new key, readable by its owner only.
    /// Returns once the file is durable. A file that is there is never written to. Blocks on the
    /// disk.
    ///
    /// Errors: [`Error::ServerKey`] for a file that holds no key, or one that others than its owner
    /// can read; [`Error::Io`], [`Error::Full`], [`Error::Random`].
    pub fn load_or_create(path: &Path) -> Result<Self, Error> {
        if let Some(key) = Self::load(path)? {
            return Ok(key);
        }
        let what = format!("making the server's key {}", path.display());
        let key = Self::generate()?;
        let fresh = write_fresh(path, &key.to_text()).map_err(|e| Error::io(&what, e))?;
        // Unlike a rename, a link never replaces what somebody else has made meanwhile.
        let linked = std::fs::hard_link(&fresh, path);
        let removed = std::fs::remove_file(&fresh);
        match linked {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            other => other.and(removed).map_err(|e| Error::io(&what, e))?,
        }
        let synced = File::open(folder(path)).and_then(|folder| folder.sync_all());
        synced.map_err(|e| Error::io(&what, e))?;
        Self::load(path)?.ok_or_else(|| Error::ServerKey {
            reason: format!("{} was removed as soon as it was made", path.display()),
        })
    }

    /// `None` when there is no such file.
    fn load(path: &Path) -> Result<Option<Self>, Error> {
        let what = || format!("reading the server's key {}", path.display());
        let refused =
            |reason: &str| Error::ServerKey { reason: format!("{} {reason}", path.display()) };
        let file = match File::open(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|e| Error::io(what(), e))?,
        };
        let metadata = file.metadata().map_err(|e| Error::io(what(), e))?;
        if !metadata.is_file() {
            return Err(refused("is not a file"));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(refused(&format!(
                "can be read by others than its owner (mode {mode:03o}): run `chmod 600` on it, \
                 and replace the key if others may have read it"
            )));
        }
        let mut text = Zeroizing::new(String::new());
        let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
        match read {
            Err(e) if e.kind() == ErrorKind::InvalidData => return Err(refused("is no text")),
            other => other.map_err(|e| Error::io(what(), e))?,
        };
        Self::parse(&text).map(Some).map_err(|error| match error {
            Error::ServerKey { reason } => refused(&format!("holds no key: it {reason}")),
            other => other,
        })
    }

    /// The key as text, for the one who keeps it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.0.root));
        Zeroizing::new(format!("{PREFIX}{}", *encoded))
    }

    /// What names the key in everything sealed under it, in hex; not secret.
    pub fn id(&self) -> String {
        id_text(self.0.id)
    }

    /// HKDF-SHA256 (RFC 5869) with one info for each use.
    fn derive(root: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, &*root);
        let sub_key = |info: &str| {
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            expand(&hkdf, info.as_bytes(), &mut *key);
            key
        };
        let mut id = [0; ID_BYTES];
        expand(&hkdf, b"vault/1/key-id", &mut id);
        Self(Arc::new(Derived {
            id,
            wrapping: sub_key("vault/1/subject-keys"),
            index: sub_key("vault/1/blind-index"),
            secrets: sub_key("vault/1/secrets"),
            tickets: sub_key("vault/1/tickets"),
            root,
        }))
    }

    pub(crate) fn id_bytes(&self) -> [u8; ID_BYTES] {
        self.0.id
    }

    /// For subject keys and what else engines of keys store.
    pub(crate) fn wrapping(&self) -> &[u8; KEY_BYTES] {
        &self.0.wrapping
    }

    /// For the blind index.
    pub(crate) fn index_key(&self) -> &[u8; KEY_BYTES] {
        &self.0.index
    }

    /// For secrets of configuration.
    pub(crate) fn secrets(&self) -> &[u8; KEY_BYTES] {
        &self.0.secrets
    }

    /// For tickets; a purpose and a day have a key of their own below it.
    pub(crate) fn tickets(&self) -> &[u8; KEY_BYTES] {
        &self.0.tickets
    }
}

/// Shows the id and nothing else.
impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerKey").field(&self.id()).finish()
    }
}

/// A key's id for people.
pub(crate) fn id_text(id: [u8; ID_BYTES]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

fn expand(hkdf: &Hkdf<Sha256>, info: &[u8], into: &mut [u8]) {
    if hkdf.expand(info, into).is_err() {
        unreachable!("HKDF-SHA256 gives up to 8160 bytes");
    }
}

fn decode(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if text.len() == 2 * KEY_BYTES {
        return decode_hex(text.as_bytes());
    }
    let text = text.trim_end_matches('=');
    let mut decoded = Zeroizing::new([0; KEY_BYTES + 1]);
    let written = [URL_SAFE_NO_PAD, STANDARD_NO_PAD]
        .iter()
        .find_map(|alphabet| alphabet.decode_slice(text, &mut *decoded).ok())?;
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    if written != KEY_BYTES {
        return None;
    }
    bytes.copy_from_slice(&decoded[..KEY_BYTES]);
    Some(bytes)
}

fn decode_hex(digits: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A durable file beside `path`, of a name that nobody else uses.
fn write_fresh(path: &Path, text: &str) -> std::io::Result<PathBuf> {
    let mut unique: [u8; 8] =
        random().map_err(|_| std::io::Error::other("no random numbers for a name"))?;
    let fresh = path.with_added_extension(format!("{:016x}.new", u64::from_be_bytes(unique)));
    unique.zeroize();
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    })();
    if let Err(error) = written {
        let _ = std::fs::remove_file(&fresh);
        return Err(error);
    }
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn reason(outcome: Result<ServerKey, Error>) -> String {
        match outcome {
            Err(Error::ServerKey { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_read_in_every_form() {
        let bytes: [u8; 32] = std::array::from_fn(|i| 255 - u8::try_from(i).unwrap());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let padded = format!("{}=", STANDARD_NO_PAD.encode(bytes));
        let url_safe = URL_SAFE_NO_PAD.encode(bytes);
        assert_ne!(padded.trim_end_matches('='), url_safe);
        for text in [&hex, &hex.to_uppercase(), &padded, &url_safe] {
            for text in [text.clone(), format!(" hwkey_{text}\n")] {
                let key = ServerKey::parse(&text).unwrap();
                assert_eq!(*key.0.root, bytes, "{text}");
                assert_eq!(*key.to_text(), format!("hwkey_{url_safe}"));
            }
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_repeated() {
        let short = URL_SAFE_NO_PAD.encode([9; 31]);
        let long = URL_SAFE_NO_PAD.encode([9; 33]);
        let bad_hex = "g".repeat(64);
        for text in ["", "hwkey_", "correct horse", &short, &long, &bad_hex, &"A".repeat(9999)] {
            let reason = reason(ServerKey::parse(text));
            assert!(text.is_empty() || !reason.contains(text), "{reason}");
        }
        assert!(reason(ServerKey::parse(&"00".repeat(32))).contains("no secret"));
    }

    #[test]
    fn each_use_has_a_key_of_its_own() {
        let key = ServerKey::generate().unwrap();
        let Derived { root, wrapping, index, secrets, tickets, .. } = &*key.0;
        let all = [root, wrapping, index, secrets, tickets];
        let distinct: std::collections::HashSet<_> = all.iter().map(|key| ***key).collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(format!("{key:?}"), format!("ServerKey({:?})", key.id()));
    }

    #[test]
    fn derived_keys_never_change() {
        // What was sealed by an earlier version must open in this one.
        let text: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let key = ServerKey::parse(&text).unwrap();
        let first = |key: &[u8; 32]| u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
        assert_eq!(key.id(), "7411fa5a");
        // By another implementation of HKDF.
        let found = [key.wrapping(), key.index_key(), key.secrets(), key.tickets()].map(first);
        assert_eq!(found, [1_826_837_372, 3_132_003_788, 1_056_117_361, 1_721_221_833]);
    }

    #[test]
    fn a_file_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        let made = ServerKey::load_or_create(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", *made.to_text()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = ServerKey::load_or_create(&path).unwrap();
        assert_eq!(*again.to_text(), *made.to_text());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left over");
    }

    #[test]
    fn those_who_make_it_at_once_end_with_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        let texts = std::thread::scope(|scope| {
            let load = || ServerKey::load_or_create(&path).unwrap().to_text().to_string();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(texts.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_file_that_is_no_key_or_is_open_to_others_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        let write = |bytes: &[u8], mode| {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let good = ServerKey::generate().unwrap().to_text();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            write(good.as_bytes(), mode);
            let reason = reason(ServerKey::load_or_create(&path));
            assert!(reason.contains("chmod 600") && reason.contains("server.key"), "{reason}");
        }
        write(good.as_bytes(), 0o400);
        ServerKey::load_or_create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        for bytes in [&b""[..], b"\n", b"\xff\xfe", &[b'A'; 4096]] {
            write(bytes, 0o600);
            reason(ServerKey::load_or_create(&path));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert!(reason(ServerKey::load_or_create(folder.path())).contains("not a file"));
        let nowhere = folder.path().join("missing/server.key");
        assert!(matches!(ServerKey::load_or_create(&nowhere), Err(Error::Io { .. })));
    }

    proptest! {
        #[test]
        fn text_gives_the_key_back(bytes: [u8; 32]) {
            prop_assume!(bytes != [bytes[0]; 32]);
            let key = ServerKey::derive(Zeroizing::new(bytes));
            prop_assert_eq!(*ServerKey::parse(&key.to_text()).unwrap().0.root, bytes);
        }

        #[test]
        fn any_text_is_taken_without_a_panic(text in ".{0,100}") {
            let _ = ServerKey::parse(&text);
        }
    }
}
