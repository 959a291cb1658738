//! The two listening sockets, and the file limit they need.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use mio::net::{TcpListener, UnixListener};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Config, prepare_folder};
use crate::limits;
use crate::router::Ingest;

/// The socket file's mode: the server's user and group may emit, nobody else.
const SOCKET_MODE: u32 = 0o660;

/// Opens the port.
pub fn websockets(config: &Config) -> Result<TcpListener, String> {
    let address = SocketAddr::new(config.host, config.port);
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit both: two syscalls fewer a connection.
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(limits::SEND_BUFFER)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(limits::LISTEN_BACKLOG)?;
        Ok(TcpListener::from_std(socket.into()))
    };
    open().map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use; choose another --port, or 0 for any free one")
        }
        _ => format!("could not listen on {address}: {error}"),
    })
}

/// Whether a port can be opened at this address at all, though the one that is wanted is in use.
pub fn check_host(host: IpAddr) -> Result<(), String> {
    std::net::TcpListener::bind((host, 0))
        .map(drop)
        .map_err(|error| format!("could not listen on {host}: {error}"))
}

/// Opens the ingest socket. A file left behind by a dead server is replaced; a live server's, or a
/// file of another kind, is left alone.
pub fn ingest(config: &Config) -> Result<Ingest, String> {
    let path = &config.socket;
    let shown = path.display();
    prepare_folder(path, config.socket_folder)
        .map_err(|error| format!("could not prepare the folder of the socket {shown}: {error}"))?;
    remove_stale(path)?;
    let listener = UnixListener::bind(path)
        .map_err(|error| format!("could not open the ingest socket {shown}: {error}"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))
        .map_err(|error| format!("could not set the mode of the ingest socket {shown}: {error}"))?;
    let found = fs::symlink_metadata(path)
        .map_err(|error| format!("could not look at the ingest socket {shown}: {error}"))?;
    Ok(Ingest {
        listener,
        path: path.clone(),
        file: (found.dev(), found.ino()),
    })
}

fn remove_stale(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("could not look at {shown}: {error}")),
    };
    if !kind.is_socket() {
        return Err(format!(
            "{shown} is there and is no socket; it was left alone"
        ));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| format!("could not remove the stale socket {shown}: {error}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{shown} is a socket that may be in use: {error}")),
        Ok(_) => Err(format!(
            "{shown} belongs to a server that is running; choose another --socket"
        )),
    }
}

/// Asks for as many open files as the connections need, as far as the system allows. Returns how many
/// there may be, if that is limited.
pub fn raise_file_limit(max_connections: usize) -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        log::warn!("could not raise the limit of open files: {error}");
    }
    let wanted = max_connections as u64 + limits::EMITTERS_MAX as u64;
    let files_max = getrlimit(Resource::Nofile).current;
    if let Some(most) = files_max
        && most < wanted
    {
        log::warn!(
            "max-connections is {max_connections}, but this process may open {most} files only; \
             raise the limit (ulimit -Hn, or LimitNOFILE in its unit) to at least {wanted}"
        );
    }
    files_max
}

/// The port's address as a client on this host would dial it.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
