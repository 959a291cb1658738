//! The port, and the limit of files that it needs.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpListener;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Config;
use crate::limits;

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
    let wanted = limits::files_wanted(max_connections);
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
