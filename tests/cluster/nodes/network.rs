//! A network of its own for one node, which can be cut off: a network namespace, joined to this one
//! by a pair of interfaces. Inside, everything has the same address on 127.0.0.x as outside:
//! forwarders on both sides of the pair carry each connection over. Needs to be root.

use std::ffi::OsString;
use std::io::Read;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a forwarder inside is told: `LISTEN>TARGET`, with commas between.
const FORWARD: &str = "TEST_FORWARD";
/// The first port that is used on the interfaces between.
const PORT_FIRST: u16 = 20_001;

/// A namespace. Dropped, it is gone with all that belongs to it.
pub(crate) struct Namespace {
    name: String,
    /// The interface on this side, and the one inside.
    interface: String,
    peer: String,
    here: Ipv4Addr,
    there: Ipv4Addr,
    inside: Option<Child>,
    outside: JoinSet<()>,
}

impl Namespace {
    /// `None` where that is not permitted.
    pub(crate) fn new() -> Option<Self> {
        if !Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|s| s.success()) {
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // A block of four addresses and names of its own.
        let block = process.wrapping_mul(4).wrapping_add(count);
        let [high, low] = [(block >> 6) % 254, (block % 64) * 4].map(|part| part as u8);
        let namespace = Self {
            name: format!("hw-{process}-{count}"),
            interface: format!("hw{process}-{count}a"),
            peer: format!("hw{process}-{count}b"),
            here: Ipv4Addr::new(169, 254, high + 1, low + 1),
            there: Ipv4Addr::new(169, 254, high + 1, low + 2),
            inside: None,
            outside: JoinSet::new(),
        };
        let Self { name, interface, peer, here, there, .. } = &namespace;
        ip(&format!("netns add {name}"));
        ip(&format!("link add {interface} type veth peer name {peer} netns {name}"));
        ip(&format!("addr add {here}/30 dev {interface}"));
        ip(&format!("-n {name} addr add {there}/30 dev {peer}"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} link set {peer} up"));
        ip(&format!("link set {interface} up"));
        Some(namespace)
    }

    /// What a command line must begin with to run inside.
    pub(crate) fn wrapper(&self) -> Vec<OsString> {
        ["ip", "netns", "exec", &self.name].map(Into::into).to_vec()
    }

    /// Makes port `own` of the inside reachable from here, and `addresses` of here from inside.
    pub(crate) async fn connect(&mut self, own: u16, addresses: &[String]) {
        let Self { here, there, .. } = *self;
        let local = format!("127.0.0.1:{own}");
        let entry = format!("{there}:{PORT_FIRST}");
        self.outside.spawn(forward(listener(&local).await, entry.clone()));
        let mut pairs = vec![format!("{entry}>{local}")];
        for (address, port) in addresses.iter().zip(PORT_FIRST..) {
            let between = format!("{here}:{port}");
            self.outside.spawn(forward(listener(&between).await, address.clone()));
            pairs.push(format!("{address}>{between}"));
        }
        let program = std::env::current_exe().expect("the test knows its own path");
        let mut words = self.wrapper().into_iter();
        let mut command = Command::new(words.next().expect("the wrapper is a command"));
        command.args(words).arg(program);
        command.args(["--exact", "nodes::network::a_forwarder_inside", "--ignored"]);
        // It ends when nobody holds its input any more.
        command.env(FORWARD, pairs.join(",")).stdin(Stdio::piped()).stdout(Stdio::null());
        self.inside = Some(command.spawn().expect("a forwarder can be started"));
    }

    /// Nothing comes through any more, in either direction, and nobody is told. It is the inner end
    /// that goes: without the outer one, its addresses would be looked for elsewhere.
    pub(crate) fn cut(&self) {
        ip(&format!("-n {} link set {} down", self.name, self.peer));
    }

    /// Everything comes through again.
    pub(crate) fn heal(&self) {
        ip(&format!("-n {} link set {} up", self.name, self.peer));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some(mut inside) = self.inside.take() {
            let _ = inside.kill();
            let _ = inside.wait();
        }
        // The interfaces go with it. It must not panic here.
        let _ = Command::new("ip").args(["link", "del", &self.interface]).status();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output().expect("ip can be started");
    let told = harness::server::printed(&output);
    assert!(output.status.success(), "ip {args}: {told}");
}

async fn listener(address: &str) -> TcpListener {
    TcpListener::bind(address).await.unwrap_or_else(|error| panic!("{address}: {error}"))
}

/// Carries over each connection, until it is dropped.
async fn forward(listener: TcpListener, target: String) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((mut from, _)) = listener.accept().await else { continue };
        let target = target.clone();
        connections.spawn(async move {
            if let Ok(mut to) = TcpStream::connect(target).await {
                let _ = copy_bidirectional(&mut from, &mut to).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Not a test: the program that `connect` runs inside.
#[tokio::test]
#[ignore = "only runs within a namespace"]
async fn a_forwarder_inside() {
    let Ok(pairs) = std::env::var(FORWARD) else { return };
    let mut forwarders = JoinSet::new();
    for pair in pairs.split(',') {
        let (address, target) = pair.split_once('>').expect("LISTEN>TARGET");
        forwarders.spawn(forward(listener(address).await, target.to_owned()));
    }
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    let _ = ended.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_carries_over_until_it_is_cut() {
    let Some(mut namespace) = Namespace::new() else {
        println!("left out: a network namespace is not permitted here");
        return;
    };
    let outside = listener("127.0.0.1:0").await;
    let address = outside.local_addr().expect("it is bound").to_string();
    let own = super::process::free_ports(1)[0];
    namespace.connect(own, std::slice::from_ref(&address)).await;
    // From inside to here. There is no server inside, so a second forwarder plays one: what comes
    // in at `own` inside goes back out to `address`.
    let pair = format!("127.0.0.1:{own}>{address}");
    let program = std::env::current_exe().expect("the test knows its own path");
    let mut words = namespace.wrapper().into_iter();
    let mut command = Command::new(words.next().expect("the wrapper is a command"));
    command.args(words).arg(program);
    command.args(["--exact", "nodes::network::a_forwarder_inside", "--ignored"]);
    command.env(FORWARD, pair).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut inside = command.spawn().expect("a forwarder can be started");
    let mut echoes = JoinSet::new();
    echoes.spawn(async move {
        loop {
            let (mut stream, _) = outside.accept().await.expect("a connection");
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    harness::eventually("an echo through the namespace", || echo(own)).await;
    namespace.cut();
    assert!(!echo(own).await, "the cut lets something through");
    namespace.heal();
    harness::eventually("an echo through the namespace again", || echo(own)).await;
    inside.kill().expect("a child can be killed");
    inside.wait().expect("a child can be waited for");
}

async fn echo(port: u16) -> bool {
    use tokio::io::AsyncWriteExt;
    let echoed = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.write_all(b"x").await.ok()?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await.ok()
    };
    let limit = std::time::Duration::from_secs(1);
    tokio::time::timeout(limit, echoed).await.is_ok_and(|read| read.is_some())
}
