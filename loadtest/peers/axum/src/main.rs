//! The peer made of axum and tokio, which shopwire is measured beside: the same job over the same contract.

mod audience;
mod contract;
mod hub;
mod ids;
mod ingest;
mod session;
mod tokens;

use std::error::Error;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, fs, io, process};

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Router, serve};
use mimalloc::MiMalloc;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::interval;

use crate::hub::Hub;
use crate::ids::EventIds;
use crate::session::{PING_INTERVAL, Shared, run};
use crate::tokens::Tokens;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How many connections the kernel may hold for us until we accept them.
const BACKLOG: u32 = 4096;

/// Clients send little: the default of 128 KiB a connection would only cost memory.
const READ_BUFFER: usize = 1024;

type Failure = Box<dyn Error>;

struct Settings {
    address: SocketAddr,
    socket: PathBuf,
    secret: Vec<u8>,
    workers: usize,
}

fn main() {
    let settings = read_settings().unwrap_or_else(|error| fail(2, &error));
    if let Err(error) =
        runtime(settings.workers).and_then(|runtime| runtime.block_on(serve_all(settings)))
    {
        fail(1, &error);
    }
}

fn read_settings() -> Result<Settings, Failure> {
    let or_default =
        |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_string());
    let required = |name: &str| {
        env::var(name)
            .map(PathBuf::from)
            .map_err(|_| format!("{name} is missing"))
    };
    let secret_file = required("WS_JWT_SECRET_FILE")?;
    let secret = fs::read(&secret_file)
        .map_err(|error| format!("WS_JWT_SECRET_FILE cannot be read: {error}"))?;
    let secret = secret.strip_suffix(b"\n").unwrap_or(&secret);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.is_empty() {
        return Err(format!("WS_JWT_SECRET_FILE is empty: {}", secret_file.display()).into());
    }
    Ok(Settings {
        address: format!(
            "{}:{}",
            or_default("WS_HOST", "127.0.0.1"),
            or_default("WS_PORT", "0")
        )
        .parse()
        .map_err(|error| format!("WS_HOST and WS_PORT: {error}"))?,
        socket: required("WS_SOCKET")?,
        secret: secret.to_vec(),
        workers: or_default("WS_WORKERS", "1")
            .parse()
            .map_err(|error| format!("WS_WORKERS: {error}"))?,
    })
}

fn runtime(workers: usize) -> Result<Runtime, Failure> {
    let mut builder = if workers > 1 {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    Ok(builder
        .worker_threads(workers.max(1))
        .enable_all()
        .build()?)
}

async fn serve_all(settings: Settings) -> Result<(), Failure> {
    let hub = Arc::new(Mutex::new(Hub::default()));
    let ids = Arc::new(EventIds::new());
    let shared = Arc::new(Shared {
        hub: Arc::clone(&hub),
        tokens: Tokens::new(&settings.secret),
        ids: Arc::clone(&ids),
    });

    let listener = listen(settings.address)?;
    let address = listener.local_addr()?;
    free_socket_path(&settings.socket).await?;
    let ingest = ingest::serve(UnixListener::bind(&settings.socket)?, Arc::clone(&hub), ids);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    writeln!(
        io::stdout(),
        "axum ready ws=ws://{address}/api/ws ingest={}",
        settings.socket.display()
    )?;

    let router = Router::new()
        .route("/api/ws", get(upgrade))
        .with_state(shared);
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("TCP_NODELAY: {error}");
        }
    });
    let served = tokio::select! {
        ended = serve(listener, router).into_future() => ended,
        ended = ingest => ended,
        () = ping(hub) => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    fs::remove_file(&settings.socket)?;
    Ok(served?)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Removes a socket that a server left behind; one that somebody still listens on is not ours to take.
async fn free_socket_path(path: &Path) -> Result<(), Failure> {
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
        Ok(_) => Err(format!("{} is in use", path.display()).into()),
    }
}

async fn upgrade(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .read_buffer_size(READ_BUFFER)
        .on_upgrade(|socket| run(socket, shared))
}

async fn ping(hub: Arc<Mutex<Hub>>) {
    let mut ticks = interval(PING_INTERVAL);
    loop {
        ticks.tick().await;
        hub.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ping_all();
    }
}

fn fail(code: i32, error: &Failure) -> ! {
    eprintln!("{error}");
    process::exit(code)
}
