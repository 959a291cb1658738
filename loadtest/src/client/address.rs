//! Connecting from many local addresses: one address alone runs out of ports.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// Local addresses used where the server is on this machine: 127.0.0.2 and up. With some 28,000
/// ports each, and a minute's rest for a used one, they last for every run.
const ADDRESSES: u32 = 199;

/// Begins to connect to `address`; `number` chooses the local address.
///
/// # Errors
/// Where the kernel refuses at once.
pub fn connect(address: SocketAddr, number: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv4() && address.ip().is_loopback() {
        let host = u32::from(Ipv4Addr::new(127, 0, 0, 2)) + number % ADDRESSES;
        socket.bind(&SocketAddr::from((Ipv4Addr::from(host), 0)).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(error)
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}
