//! The file of a Unix socket: made for its owner alone, replaced when nobody answers behind it, removed
//! at the end.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::widen_backlog;

/// The permissions of a socket file unless told otherwise: its owner alone may connect.
pub const PERMISSIONS: u32 = 0o600;

/// How many names are tried.
const NAMES_MAX: u32 = 16;

/// A listening Unix socket whose file goes with it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// Listens on `path`. A socket file that a dead process left behind is replaced; anything else that lies
/// there is not touched.
///
/// # Errors
///
/// `AddrInUse` when somebody listens there or the path is no socket, else what the system says.
pub fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    // A path that is too long for a socket could still be given to a file.
    SocketAddr::from_pathname(path)?;
    remove_stale(path)?;
    let listener = bind_private(path)?;
    widen_backlog(&listener)?;
    let inode = std::fs::symlink_metadata(path)?.ino();
    Ok((listener, SocketFile { path: path.into(), inode }))
}

/// Binds under a name that only this process knows and moves it into place once its permissions are
/// right, so that there is no moment in which others may connect.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let (listener, private) = bind_somewhere(path)?;
    let moved = std::fs::set_permissions(&private, std::fs::Permissions::from_mode(PERMISSIONS))
        .and_then(|()| std::fs::hard_link(&private, path));
    let removed = std::fs::remove_file(&private);
    match moved {
        Ok(()) => removed.map(|()| listener),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

/// Binds under a name beside `path` that nobody has: another thread may bind at the same time, and a dead
/// process with the number of this one may have left its own behind.
fn bind_somewhere(path: &Path) -> io::Result<(UnixListener, PathBuf)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut failed = io::ErrorKind::AddrInUse.into();
    for _ in 0..NAMES_MAX {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Short, because the path of a socket may have about a hundred bytes in all.
        let private = path.with_file_name(format!(".{:x}.{number:x}", std::process::id()));
        match UnixListener::bind(&private) {
            Ok(listener) => return Ok((listener, private)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => failed = error,
            Err(error) => return Err(error),
        }
    }
    Err(failed)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "a file that is no socket lies there"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode);
        if ours {
            // It is gone already, or will be found stale.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;

    use super::{PERMISSIONS, bind};

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("liminal-{}-{name}", std::process::id()))
    }

    #[test]
    fn only_the_owner_may_connect_and_the_file_goes_with_the_listener() {
        let path = path("private");
        let bound = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PERMISSIONS);
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_file_that_nobody_listens_behind_is_replaced() {
        let path = path("stale");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(bind(&path).is_ok());
    }

    #[test]
    fn a_path_that_no_client_could_name_is_refused() {
        let path = path(&"x".repeat(200));
        assert_eq!(bind(&path).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(!path.exists());
    }

    #[test]
    fn several_threads_bind_beside_each_other() {
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    let path = path(&format!("beside-{number}"));
                    for _ in 0..50 {
                        assert!(bind(&path).is_ok());
                    }
                });
            }
        });
    }

    #[test]
    fn a_socket_in_use_and_a_file_that_is_no_socket_are_left_alone() {
        let used = path("used");
        let bound = bind(&used).unwrap();
        assert_eq!(bind(&used).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(bound);
        let file = path("file");
        std::fs::write(&file, "precious").unwrap();
        assert_eq!(bind(&file).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
        std::fs::remove_file(&file).unwrap();
    }
}
