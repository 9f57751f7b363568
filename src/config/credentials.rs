//! Credentials that the process was started with. `/proc/PID/environ` shows what a process began with for as long as it lives, to
//! every process of the same user, and so to every task. The program therefore starts itself again without them, and gets them
//! through a file without a name that is emptied as soon as it was read.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// The variable that says on which descriptor they are.
pub const HANDED_OVER: &str = "PLANSPEC_CREDENTIALS_FD";

/// How the file is called in `/proc/PID/fd`. What has another name is somebody else's, and is not read: the variable may have
/// been inherited by a program that knows nothing of it.
const FILE: &str = "planspec-credentials";

/// How the names of variables end that hold a credential.
const ENDINGS: [&str; 9] = [
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "SECRET_KEY",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "SIGNING_KEY",
];

/// The settings for Git that come by the environment. `planspec`'s action gives Git the job's token in one of these.
const GIT_SETTINGS: [&str; 3] = ["GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"];

type Variables = BTreeMap<OsString, OsString>;

/// The variables that hold a credential, by their names.
pub(super) fn find(variables: &Variables) -> Vec<(OsString, OsString)> {
    let begins = |name: &OsStr, start: &str| name.as_bytes().starts_with(start.as_bytes());
    let holds_header = |value: &OsStr| {
        // As Git reads it: the name of a header has no capitals of its own.
        value.as_bytes().to_ascii_lowercase().windows(14).any(|part| part == b"authorization:")
    };
    let header =
        variables.iter().any(|(name, value)| begins(name, "GIT_CONFIG_VALUE_") && holds_header(value));
    let is_credential = |name: &OsStr| {
        // All of the settings or none: Git refuses a number of them that is not what is there.
        let setting = header && GIT_SETTINGS.iter().any(|start| begins(name, start));
        setting || ENDINGS.iter().any(|ending| name.as_bytes().ends_with(ending.as_bytes()))
    };
    let found = variables.iter().filter(|(name, value)| is_credential(name) && !value.is_empty());
    found.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A file with these variables for a program that is started in place of this one, and its descriptor, which stays open.
#[cfg(target_os = "linux")]
pub(super) fn hand_over(credentials: &[(OsString, OsString)]) -> io::Result<(std::os::fd::OwnedFd, i32)> {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{MemfdFlags, memfd_create};

    let mut file = File::from(memfd_create(FILE, MemfdFlags::ALLOW_SEALING)?);
    for (name, value) in credentials {
        for part in [name.as_bytes(), b"=", value.as_bytes(), b"\0"] {
            file.write_all(part)?;
        }
    }
    let number = file.as_raw_fd();
    Ok((file.into(), number))
}

/// Adds what was handed over to the variables. Says whether something was.
pub(super) fn take_over(variables: &mut Variables) -> bool {
    let Some(number) = variables.remove(OsStr::new(HANDED_OVER)) else { return false };
    // A process that cannot read them goes on without, and the host says what it lacks.
    let Some(bytes) =
        number.to_str().and_then(|number| number.parse().ok()).and_then(|number| read(number).ok())
    else {
        return false;
    };
    for pair in bytes.split(|byte| *byte == 0) {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            variables.insert(OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()));
        }
    }
    !bytes.is_empty()
}

/// Reads the file on a descriptor and empties it.
fn read(descriptor: u32) -> io::Result<Vec<u8>> {
    let path = format!("/proc/self/fd/{descriptor}");
    let name = std::fs::read_link(&path)?;
    if !name.as_os_str().as_bytes().starts_with(format!("/memfd:{FILE}").as_bytes()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Opened once more, as only unsafe code makes a file of a number. The first descriptor stays open and is inherited by every
    // process that is started from here: what it leads to has to be empty by then, and to stay so.
    let mut file = File::options().read(true).write(true).open(&path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    file.set_len(0)?;
    seal(&file);
    Ok(bytes)
}

#[cfg(target_os = "linux")]
fn seal(file: &File) {
    use rustix::fs::{SealFlags, fcntl_add_seals};
    // Else tasks that are to know nothing of each other had a place to leave something.
    let all = SealFlags::SEAL | SealFlags::GROW | SealFlags::SHRINK | SealFlags::WRITE;
    if let Err(error) = fcntl_add_seals(file, all) {
        tracing::debug!(%error, "the empty file of the credentials is not sealed");
    }
}

#[cfg(not(target_os = "linux"))]
fn seal(_: &File) {}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn names(pairs: &[(&str, &str)]) -> Vec<String> {
        let variables: Variables = pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
        find(&variables).into_iter().map(|(name, _)| name.into_string().unwrap()).collect()
    }

    #[test]
    fn credentials_are_known_by_their_names() {
        let pairs = [
            ("GITHUB_TOKEN", "ghs_x"),
            ("GH_TOKEN", ""),
            ("PLANSPEC_SIGNING_KEY", "key"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("SSH_AUTH_SOCK", "/run/agent"),
            ("PATH", "/bin"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "user.name"),
            ("GIT_CONFIG_VALUE_0", "Ada"),
        ];
        assert_eq!(names(&pairs), ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PLANSPEC_SIGNING_KEY"]);
    }

    #[test]
    fn settings_of_git_that_hold_a_header_go_as_a_whole() {
        let pairs = [
            ("GIT_CONFIG_COUNT", "2"),
            ("GIT_CONFIG_KEY_0", "user.name"),
            ("GIT_CONFIG_VALUE_0", "Ada"),
            ("GIT_CONFIG_KEY_1", "http.https://example.org/.extraheader"),
            ("GIT_CONFIG_VALUE_1", "AUTHORIZATION: basic eA=="),
            ("GIT_DIR", "x"),
        ];
        assert_eq!(names(&pairs).len(), 5);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_handed_over_is_read_once() {
        let (file, number) = hand_over(&[("GITHUB_TOKEN".into(), "a=b\nc".into())]).unwrap();
        let take = || {
            let mut variables = Variables::from([(HANDED_OVER.into(), number.to_string().into())]);
            let taken = take_over(&mut variables);
            (taken, variables)
        };
        assert_eq!(take(), (true, Variables::from([("GITHUB_TOKEN".into(), "a=b\nc".into())])));
        assert_eq!(take(), (false, Variables::new()));
        drop(file);
        assert_eq!(take(), (false, Variables::new()));
        // A descriptor of something else is left alone.
        let other = File::open("/dev/null").unwrap();
        let mut variables = Variables::from([(HANDED_OVER.into(), other.as_raw_fd().to_string().into())]);
        assert!(!take_over(&mut variables) && variables.is_empty());
    }
}
