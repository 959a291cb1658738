//! Behind Debian's nginx and HAProxy, with the very files of `deploy/`: the settings in them, and those for shopwire in
//! their comments. Only ports, certificates and, for the test of silence, one time are put in their place.
//!
//! `make proxies` fetches the programs. Where they are not, these tests say so and pass; under `make test` they must be there.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::client::{Incoming, tcp_from};
use crate::harness::examples::event;
use crate::harness::http::{Connection, Response};
use crate::harness::tls::{Browser, Certificates, Stream};
use crate::harness::{Client, DEADLINE, Ending, Opening, Server, Setup};

/// A file of `deploy/`, and what it is for.
struct Way {
    program: &'static str,
    file: &'static str,
    /// Where TLS ends: at the proxy, or at shopwire.
    ends_tls: bool,
}

const WAYS: [Way; 4] = [
    Way {
        program: "nginx",
        file: "nginx/shopwire.conf",
        ends_tls: true,
    },
    Way {
        program: "nginx",
        file: "nginx/passthrough.conf",
        ends_tls: false,
    },
    Way {
        program: "haproxy",
        file: "haproxy/shopwire.cfg",
        ends_tls: true,
    },
    Way {
        program: "haproxy",
        file: "haproxy/passthrough.cfg",
        ends_tls: false,
    },
];

/// What a proxy waits for a connection on which nothing passes, as the files have it, and here.
const SILENCE: (&str, &str) = ("75s", "3s");

/// What a proxy has to say, in its folder.
const LOG: &str = "said.log";

#[test]
fn a_client_is_known_by_his_own_address_whatever_he_says() {
    for way in &WAYS {
        let Some(site) = Site::open(way, &["--connect-rate", "2"]) else {
            return;
        };
        let (one, other) = (client(7), client(8));
        let plain = Opening::new();
        let status = |from, opening| site.connect(from, opening).err();
        assert_eq!(
            [
                status(one, plain.clone()),
                status(one, plain.clone()),
                status(one, plain.clone())
            ],
            [None, None, Some(429)],
            "{}",
            way.file
        );
        for (name, value) in [
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", "203.0.113.9, 127.0.0.1"),
            ("X-Real-IP", "203.0.113.9"),
            ("Forwarded", "for=203.0.113.9"),
            ("X-Client-IP", "203.0.113.9"),
        ] {
            let forged = plain.clone().header(name, value);
            assert_eq!(
                status(one, forged),
                Some(429),
                "{}: {name}: {value}",
                way.file
            );
        }
        assert_eq!(status(other, plain), None, "{}", way.file);
    }
}

/// Told in `Forwarded`, by a proxy that writes its own in place of what a client says, and by one that writes it behind
/// that.
#[test]
fn a_client_is_known_by_what_the_proxy_has_forwarded_whatever_many_lines_he_sends() {
    let nginx = [(
        "proxy_set_header Forwarded       \"\";",
        "proxy_set_header Forwarded for=$remote_addr;",
    )];
    let haproxy = [
        (
            "http-request del-header Forwarded",
            "http-request add-header Forwarded for=%[src]",
        ),
        (" send-proxy-v2 check check-send-proxy", " check"),
    ];
    let args = ["--connect-rate", "2", "--forwarded-header", "forwarded"];
    for (way, changes) in [(&WAYS[0], &nginx[..]), (&WAYS[2], &haproxy[..])] {
        let Some(site) = Site::changed(way, &args, changes) else {
            return;
        };
        let (one, other) = (client(7), client(8));
        let status = |from, opening| site.connect(from, opening).err();
        let plain = Opening::new();
        for expected in [None, None, Some(429)] {
            assert_eq!(status(one, plain.clone()), expected, "{}", way.file);
        }
        // Together with the proxy's own lines they are under the 64 that a head may have.
        let many = (0..40).fold(Opening::new(), |opening, n| {
            opening.header("Forwarded", &format!("for=203.0.113.{n};proto=https"))
        });
        let broken = (0..40).fold(Opening::new(), |opening, n| {
            let line = [
                "for=\"203.0.113.9",
                "for=;,,=",
                "\"",
                "for=203.0.113.9, for=\"",
            ][n % 4];
            opening.header("Forwarded", line)
        });
        for forged in [many, broken] {
            assert_eq!(status(one, forged), Some(429), "{}", way.file);
        }
        assert_eq!(status(other, plain), None, "{}", way.file);
    }
}

#[test]
fn what_is_for_callers_on_the_servers_own_host_is_not_for_those_behind_a_proxy() {
    for way in WAYS.iter().filter(|way| way.ends_tls) {
        let Some(site) = Site::open(way, &[]) else {
            return;
        };
        assert_eq!(site.get("/api/ws/info").status, 200, "{}", way.file);
        assert_eq!(site.get("/api/ws/stats").status, 401, "{}", way.file);
        for inside in ["/readyz", "/healthz", "/"] {
            assert_eq!(site.get(inside).status, 404, "{}: {inside}", way.file);
        }
    }
}

#[test]
fn events_arrive_and_a_drain_says_when_to_come_back() {
    for way in &WAYS {
        let Some(mut site) = Site::open(way, &[]) else {
            return;
        };
        let mut client = site.connect(client(7), Opening::new()).unwrap();
        client.subscribe(&["products"]);
        let id = site.server.emitter().emit(&event("product:created"));
        let got = client.expect_event("product:created");
        assert_eq!(got["id"], id.as_str(), "{}", way.file);
        site.server.signal(Signal::TERM);
        let messages = client.expect_close(1001);
        let goodbye = messages.last().map(|message| &message["type"]);
        assert_eq!(goodbye, Some(&Value::from("reconnect")), "{}", way.file);
        let (status, _) = site.server.exit_within(DEADLINE);
        assert_eq!(status.code(), Some(0), "{}", way.file);
    }
}

#[test]
fn pings_keep_a_silent_connection_for_longer_than_the_proxy_waits() {
    let lives = |way: &Way| {
        let Some(site) = Site::open(way, &["--ping-interval", "1s", "--pong-timeout", "1s"]) else {
            return;
        };
        let mut client = site.connect(client(7), Opening::new()).unwrap();
        client.subscribe(&["products"]);
        // Over 3 s, in which only they and their answers pass.
        for _ in 0..5 {
            assert!(matches!(client.read(), Incoming::Ping), "{}", way.file);
        }
        let id = site.server.emitter().emit(&event("product:created"));
        let got = client.expect_event("product:created");
        assert_eq!(got["id"], id.as_str(), "{}", way.file);
    };
    // Without pings the proxy ends it: what is tried above is no other time that happens to be long.
    let is_cut = |way: &Way| {
        let Some(site) = Site::open(way, &["--ping-interval", "1h"]) else {
            return;
        };
        let mut client = site.connect(client(7), Opening::new()).unwrap();
        let (ending, _) = client.read_to_end();
        assert_eq!(ending, Ending::Cut, "{}", way.file);
    };
    std::thread::scope(|scope| {
        for way in &WAYS {
            scope.spawn(move || lives(way));
            scope.spawn(move || is_cut(way));
        }
    });
}

/// A client's address that no proxy has.
fn client(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, number).into()
}

/// shopwire behind a proxy.
struct Site {
    server: Server,
    proxy: Proxy,
    browser: Browser,
    _certificates: Certificates,
}

impl Site {
    /// `None`: the program is not there.
    fn open(way: &Way, args: &[&str]) -> Option<Site> {
        Site::changed(way, args, &[])
    }

    /// With some of the file's text put in another's place.
    fn changed(way: &Way, args: &[&str], changes: &[(&str, &str)]) -> Option<Site> {
        let program = program(way.program)?;
        let certificates = Certificates::new();
        let path = root().join("deploy").join(way.file);
        let text = fs::read_to_string(path).unwrap();
        let paths = [
            ("/etc/shopwire/fullchain.pem", &certificates.cert),
            ("/etc/shopwire/privkey.pem", &certificates.key),
        ];
        // HAProxy has both in one file.
        let text = match (way.program, way.ends_tls) {
            ("haproxy", true) => text,
            _ => put(&text, &paths),
        };
        let server = Setup::new(args).file(&servers_side(&text)).start();
        let mut text = text.replace("127.0.0.1:3001", &server.address.to_string());
        for (place, other) in changes {
            assert!(text.contains(place), "{place} in {text}");
            text = text.replace(place, other);
        }
        let proxy = Proxy::start(&program, way, &text, &certificates);
        Some(Site {
            server,
            proxy,
            browser: certificates.browser(),
            _certificates: certificates,
        })
    }

    fn dial(&self, from: IpAddr) -> Stream {
        let tcp = tcp_from(from, self.proxy.address).unwrap();
        self.browser.secure(tcp).unwrap()
    }

    /// A WebSocket, or the status of the refusal.
    fn connect(&self, from: IpAddr, opening: Opening) -> Result<Client<Stream>, u16> {
        Client::over(self.dial(from), self.proxy.address, opening)
    }

    fn get(&self, path: &str) -> Response {
        let mut connection = Connection::over(self.dial(client(7)));
        let host = self.proxy.address;
        connection.send(
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        connection.response(false)
    }
}

/// The lines of shopwire's own settings in a file's comment.
fn servers_side(text: &str) -> String {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .filter(|line| line.contains(" = "));
    let found: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(found.contains("trusted-proxies = "), "{text}");
    found
}

/// Puts paths where the file has others.
fn put(text: &str, paths: &[(&str, &PathBuf)]) -> String {
    paths.iter().fold(text.to_owned(), |text, (place, path)| {
        assert!(text.contains(place), "{place} in {text}");
        text.replace(place, &path.display().to_string())
    })
}

/// A running proxy.
struct Proxy {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Proxy {
    fn start(program: &Path, way: &Way, text: &str, certificates: &Certificates) -> Proxy {
        // Somebody else may take a port between our choice and its use.
        for _ in 0..5 {
            if let Some(proxy) = Proxy::try_start(program, way, text, certificates) {
                return proxy;
            }
        }
        panic!("{} does not start; see what it says above", way.file);
    }

    fn try_start(
        program: &Path,
        way: &Way,
        text: &str,
        certificates: &Certificates,
    ) -> Option<Proxy> {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        assert!(text.contains(SILENCE.0), "{text}");
        let text = text.replace(SILENCE.0, SILENCE.1);
        let mut command = Command::new(program);
        if way.program == "nginx" {
            let main = nginx(folder.path(), &on_port(&text, "listen 443", address), way);
            command.arg("-p").arg(folder.path()).arg("-c").arg(main);
            command.arg("-e").arg(folder.path().join(LOG));
        } else {
            let mut text = on_port(&text, "bind :443", address);
            if way.ends_tls {
                let both = folder.path().join("both.pem");
                let parts = [&certificates.cert, &certificates.key];
                let parts = parts.map(|part| fs::read_to_string(part).unwrap());
                fs::write(&both, parts.concat()).unwrap();
                text = put(&text, &[("/etc/shopwire/shop.example.pem", &both)]);
            }
            let file = folder.path().join("haproxy.cfg");
            fs::write(&file, text).unwrap();
            command.arg("-db").arg("-f").arg(file);
        }
        let log = File::create(folder.path().join(LOG)).unwrap();
        let child = command
            .env("LD_LIBRARY_PATH", libraries())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut proxy = Proxy {
            child,
            address,
            folder,
        };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if proxy.child.try_wait().unwrap().is_some() {
                eprintln!("{}", proxy.log());
                return None;
            }
            assert!(started.elapsed() < DEADLINE, "{}", proxy.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Some(proxy)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the proxy's log ---\n{}---", self.log());
        }
        // Not by a kill: nginx' master has to take its workers with it. It may have ended already.
        kill_process(Pid::from_child(&self.child), Signal::TERM).ok();
        self.child.wait().ok();
    }
}

/// Has the proxy listen at this address, and nowhere else.
fn on_port(text: &str, line: &str, address: SocketAddr) -> String {
    assert!(text.contains(line), "{line} in {text}");
    let (word, _) = line.split_once(' ').unwrap();
    let kept = text.lines().filter(|line| !line.contains("[::]:443"));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    kept.replace(line, &format!("{word} {address}"))
}

/// Writes the file that includes this one, as Debian's own would, but in a folder of its own. Gives its path.
fn nginx(folder: &Path, text: &str, way: &Way) -> PathBuf {
    let own = folder.join("own.conf");
    fs::write(&own, text).unwrap();
    let at = folder.display();
    let mut main = format!("daemon off;\npid {at}/nginx.pid;\nworker_processes 1;\n");
    if geteuid().is_root() {
        // The folder is ours alone, and its workers have to read it.
        main.push_str("user root;\n");
    }
    main.push_str("events { worker_connections 256; }\n");
    let include = format!("include {};\n", own.display());
    if way.ends_tls {
        main.push_str("http {\naccess_log off;\n");
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            main.push_str(&format!("{kind}_temp_path {at}/{kind};\n"));
        }
        main.push_str(&format!("{include}}}\n"));
    } else {
        let module = module();
        main = format!("load_module {};\n{main}{include}", module.display());
    }
    let path = folder.join("nginx.conf");
    fs::write(&path, main).unwrap();
    path
}

/// nginx' module for TCP.
fn module() -> PathBuf {
    let name = "usr/lib/nginx/modules/ngx_stream_module.so";
    let own = fetched().join(name);
    if own.exists() {
        own
    } else {
        Path::new("/").join(name)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `make proxies` unpacks them.
fn fetched() -> PathBuf {
    std::env::var_os("SHOPWIRE_PROXIES").map_or_else(|| root().join("target/proxies"), Into::into)
}

fn program(name: &str) -> Option<PathBuf> {
    let places = [fetched().join("usr/sbin"), "/usr/sbin".into()];
    let found = places
        .iter()
        .map(|place| place.join(name))
        .find(|program| program.exists());
    if found.is_none() {
        let missing = format!("there is no {name} here: `make proxies` fetches it");
        assert!(std::env::var_os("SHOPWIRE_PROXIES").is_none(), "{missing}");
        eprintln!("skipped: {missing}");
    }
    found
}

/// Folders with the libraries that were fetched with them.
fn libraries() -> String {
    let found = fs::read_dir(fetched().join("usr/lib"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().display().to_string());
    found.collect::<Vec<_>>().join(":")
}
