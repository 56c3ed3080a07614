//! The Unix socket that the client connects to.

use std::hash::{BuildHasher, RandomState};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The shortest limit of a socket's path among the systems (macOS: 104 with the final zero).
const MAX_PATH: usize = 103;

/// A socket's file, removed when dropped.
pub struct Socket {
    path: PathBuf,
}

impl Socket {
    /// Listens on a new socket in `PLUGIN_UNIX_SOCKET_DIR` or the temporary directory, open to the user only, or also to
    /// the group that `PLUGIN_UNIX_SOCKET_GROUP` names.
    ///
    /// # Errors
    /// When there can be no socket, or no such group.
    pub fn bind(variable: impl Fn(&str) -> Option<String>) -> Result<(Self, UnixListener)> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        // the process id tells people whose it is, the random number keeps others from taking the name first
        let name = format!("karpenter-{}-{:x}", std::process::id(), RandomState::new().hash_one(0) as u32);
        let path = match set("PLUGIN_UNIX_SOCKET_DIR") {
            Some(directory) => Path::new(&directory).join(&name),
            None => Some(std::env::temp_dir().join(&name))
                .filter(|path| path.as_os_str().len() <= MAX_PATH)
                .unwrap_or(Path::new("/tmp").join(&name)),
        };
        let listener =
            UnixListener::bind(&path).map_err(|error| Error::new(error.kind(), format!("socket {}: {error}", path.display())))?;
        let socket = Socket { path };
        let mode = match set("PLUGIN_UNIX_SOCKET_GROUP") {
            Some(group) => {
                chown(&socket.path, None, Some(group_id(&group)?))?;
                0o660
            }
            None => 0o600,
        };
        std::fs::set_permissions(&socket.path, std::fs::Permissions::from_mode(mode))?;
        Ok((socket, listener))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // nobody is left to tell, and the file is of no use to anybody
        let _ = std::fs::remove_file(&self.path);
    }
}

/// By number, or by its name in /etc/group.
fn group_id(group: &str) -> Result<u32> {
    if let Ok(id) = group.parse() {
        return Ok(id);
    }
    let groups = std::fs::read_to_string("/etc/group")?;
    let id = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    id.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("PLUGIN_UNIX_SOCKET_GROUP: there is no group {group:?}")))
}
