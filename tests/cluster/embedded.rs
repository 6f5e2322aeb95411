//! The same workload and the same checker on one server with the embedded log, killed in the
//! middle of its work: what a cluster has to hold, a single server holds too.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::checker;
use crate::nodes::process::{Launch, Node, free_ports};
use crate::workload::{Plan, Run};

/// How often the server is killed.
const KILLS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_server_that_is_killed_holds_what_a_cluster_has_to() {
    let plan = Plan::new();
    let mut rng = fastrand::Rng::with_seed(plan.seed ^ 1);
    let folder = tempfile::TempDir::with_prefix("headwater-cluster-").expect("a folder");
    let mut node = Node::new(launch(folder.path()));
    node.start();
    node.ready().await;
    let mut run = Run::start(plan, &[node.url().to_owned()], harness::ADMIN_KEY).await;
    for kill in 0..KILLS {
        run.work(Duration::from_millis(rng.u64(500..1500))).await;
        node.kill();
        run.work(Duration::from_millis(rng.u64(..300))).await;
        node.start();
        node.ready().await;
        if kill == 1 {
            run.subscribe_late().await;
        }
    }
    run.recovered().await;
    assert!(run.acknowledged() > 0);
    run.finish().await;
}

/// A server that comes back with a disk of an earlier time has lost what it acknowledged. It can't
/// know that; the checker must.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_does_not_get_by() {
    let plan = Plan::new();
    let folder = tempfile::TempDir::with_prefix("headwater-cluster-").expect("a folder");
    let (data, earlier) = (folder.path().join("data"), folder.path().join("earlier"));
    let mut node = Node::new(launch(folder.path()));
    node.start();
    node.ready().await;
    let mut run = Run::start(plan, &[node.url().to_owned()], harness::ADMIN_KEY).await;
    run.work(Duration::from_millis(500)).await;
    node.kill();
    copy(&data, &earlier);
    node.start();
    node.ready().await;
    let before = run.acknowledged();
    while run.acknowledged() < before + 100 {
        run.work(Duration::from_millis(100)).await;
    }
    node.kill();
    std::fs::remove_dir_all(&data).expect("a folder can be removed");
    std::fs::rename(&earlier, &data).expect("a folder can be renamed");
    node.start();
    node.ready().await;
    run.recovered().await;
    let evidence = run.conclude().await;
    let broken: BTreeSet<_> = checker::check(&evidence).iter().map(|one| one.rule).collect();
    println!("{broken:?}");
    for rule in ["linearizability", "streams", "writes"] {
        assert!(broken.contains(rule), "{rule} is not in {broken:?}");
    }
}

fn copy(from: &Path, to: &Path) {
    for file in harness::files_below(from) {
        let copy = to.join(file.strip_prefix(from).expect("it is below"));
        std::fs::create_dir_all(copy.parent().expect("it is in a folder")).expect("a folder");
        std::fs::copy(&file, &copy).expect("a file can be copied");
    }
}

fn launch(folder: &Path) -> Launch {
    let address = format!("127.0.0.1:{}", free_ports(1)[0]);
    let data = folder.join("data").into_os_string();
    let args = ["serve".into(), "--data".into(), data, "--listen".into(), address.clone().into()];
    Launch {
        name: "the server".to_owned(),
        wrapper: Vec::new(),
        args: args.to_vec(),
        env: vec![("HEADWATER_ADMIN_KEY".to_owned(), harness::ADMIN_KEY.to_owned())],
        url: format!("http://{address}"),
        log: folder.join("log"),
    }
}
