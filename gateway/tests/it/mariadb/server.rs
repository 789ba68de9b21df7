//! A MariaDB server of the test's own.

use mysql::Conn;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running server, killed with the test.
pub struct MariaDb {
    child: Child,
    socket: PathBuf,
    _directory: TempDir,
}

/// A program of the package, wherever the system keeps servers.
fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]).collect();
    names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()))
}

impl MariaDb {
    /// Starts one; `None` when it is not installed.
    pub fn start() -> Option<MariaDb> {
        let server = program(&["mariadbd"])?;
        let install = program(&["mariadb-install-db", "mysql_install_db"])?;
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        let socket = directory.path().join("socket");
        let user = if is_root() { "--user=root" } else { "--skip-name-resolve" };
        let done = Command::new(install)
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", user])
            .arg(format!("--datadir={}", data.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("mariadb-install-db runs");
        assert!(done.success(), "mariadb-install-db failed");
        let child = Command::new(server)
            .args(["--no-defaults", "--skip-networking", "--skip-log-bin", user])
            .args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_nopad_bin"])
            .args(["--default-time-zone=+00:00", "--innodb-buffer-pool-size=64M", "--performance-schema=off"])
            .args(["--transaction-isolation=READ-COMMITTED", "--group-concat-max-len=1048576"])
            .arg("--sql-mode=STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--pid-file={}", directory.path().join("pid").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mariadbd starts");
        Some(MariaDb { child, socket, _directory: directory })
    }

    /// A connection, once the server accepts one.
    pub fn connect(&self) -> Conn {
        let options = mysql::OptsBuilder::new()
            .socket(Some(self.socket.display().to_string()))
            .user(Some("root"))
            .init(vec!["SET NAMES utf8mb4 COLLATE utf8mb4_nopad_bin"]);
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match Conn::new(options.clone()) {
                Ok(connection) => return connection,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// Whether this process is root, whom the server only runs as when it is told to.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0)
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
