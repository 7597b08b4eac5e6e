//! Reads API keys from a folder: a file is a key, as a mounted Secret lays them out.
use std::{fs, io, path::Path};

/// More than any header of a request may hold.
const LONGEST_KEY: u64 = 4096;

/// What was found in a folder.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) keys: Vec<String>,
    /// What was not taken for a key, and why. Never with its content.
    pub(super) complaints: Vec<String>,
}

/// Reads the files of `folder`.
pub(super) fn read(folder: &Path) -> Found {
    let mut found = Found::default();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let complaint = format!("{} cannot be read: {error}", folder.display());
            found.complaints.push(complaint);
            return found;
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        // Kubelet's own: what the files are links into.
        if entry.file_name().as_encoded_bytes().starts_with(b"..") || path.is_dir() {
            continue;
        }
        match key(&path) {
            Ok(key) => found.keys.push(key),
            Err(why) => {
                let complaint = format!("{} is no API key: {why}", path.display());
                found.complaints.push(complaint);
            }
        }
    }
    found
}

/// A line end behind the key is no part of it: editors put it there.
fn key(path: &Path) -> Result<String, String> {
    let said = |error: io::Error| error.to_string();
    if fs::metadata(path).map_err(said)?.len() > LONGEST_KEY {
        return Err(format!("it is longer than {LONGEST_KEY} bytes"));
    }
    let text = fs::read_to_string(path).map_err(said)?;
    let key = text.trim_end_matches(['\r', '\n']);
    if key.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "it has characters that no header carries: use letters, digits and punctuation"
                .to_owned(),
        );
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_mounted_secret_is_read_through_kubelets_links() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("..2026_01_01");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("team"), "sk-1\r\n").unwrap();
        symlink("..2026_01_01", folder.path().join("..data")).unwrap();
        symlink("..data/team", folder.path().join("team")).unwrap();
        let found = read(folder.path());
        assert_eq!(found.keys, ["sk-1"]);
        assert_eq!(found.complaints, Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_a_key_is_named_but_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(5000);
        let cases = [
            ("empty", "\n", "it is empty"),
            ("words", "two secrets", "no header carries"),
            ("long", &*long, "longer than 4096 bytes"),
        ];
        for (name, text, why) in cases {
            fs::write(folder.path().join(name), text).unwrap();
            let found = read(folder.path());
            assert_eq!(found.keys, Vec::<String>::new());
            let complaint = &found.complaints[0];
            assert!(
                complaint.contains(name) && complaint.contains(why),
                "{complaint}"
            );
            assert!(!complaint.contains("secrets"), "{complaint}");
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        assert!(read(&folder.path().join("missing")).complaints[0].contains("cannot be read"));
    }
}
