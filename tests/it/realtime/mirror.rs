//! A client that keeps what a live query tells it, and is held against asking again.

use std::collections::BTreeMap;

use harness::{Project, Socket};
use serde_json::{Value, json};

/// One frame in so many is held against asking as of its position.
const CHECKED_EACH: usize = 8;

/// Random writes.
pub(super) struct Writes {
    pub(super) seed: u64,
    pub(super) count: usize,
    /// What they are spread over.
    pub(super) documents: usize,
}

/// A client that keeps what it was told.
pub(super) struct Mirror {
    target: Value,
    socket: Socket,
    /// By id.
    documents: BTreeMap<String, Value>,
    count: Option<u64>,
    /// Changes that belong together, until the last of them has come.
    parts: Vec<Value>,
    position: Option<String>,
    /// Whether the connection is cut and made anew now and then.
    breaks: bool,
    frames: usize,
}

impl Mirror {
    pub(super) async fn open(project: &Project, target: Value, breaks: bool) -> Self {
        let socket = Socket::connect(project).await;
        let mut mirror = Self {
            target,
            socket,
            documents: BTreeMap::new(),
            count: None,
            parts: Vec::new(),
            position: None,
            breaks,
            frames: 0,
        };
        mirror.subscribe().await;
        mirror
    }

    async fn subscribe(&mut self) {
        self.socket.subscribe("s", &self.target, self.position.as_deref()).await;
    }

    /// What asking comes to, now or as of a position.
    async fn asked(
        &self,
        project: &Project,
        as_of: Option<&str>,
    ) -> (BTreeMap<String, Value>, u64) {
        let mut body = self.target.clone();
        body.as_object_mut().expect("a target").remove("collection");
        if let Some(as_of) = as_of {
            body["asOf"] = json!(as_of);
        }
        let page = project.client.post(&project.path("/collections/c/query"), &body);
        let page = page.expect(200).await;
        let documents = page["documents"].as_array().expect("documents").iter();
        let id = |document: &Value| document["id"].as_str().expect("an id").to_owned();
        let documents = documents.map(|document| (id(document), document.clone())).collect();
        (documents, page["total"].as_u64().unwrap_or_default())
    }

    /// Takes a frame, and is cut off now and then.
    async fn take(&mut self, project: &Project, frame: Value) {
        let more = frame["more"] == true;
        match frame["op"].as_str() {
            Some("snapshot") => {
                assert_eq!(frame["reset"], false, "nothing here is too much to resume");
                for document in frame["documents"].as_array().expect("documents") {
                    let id = document["id"].as_str().expect("an id").to_owned();
                    assert!(self.documents.insert(id, document.clone()).is_none());
                }
            }
            Some("change") => self.parts.push(frame.clone()),
            Some("count") => self.count = frame["count"].as_u64(),
            Some("live") => {}
            _ => panic!("expected news, got {frame}"),
        }
        if !more {
            self.take_parts();
            self.position = frame["position"].as_str().map(str::to_owned);
            if self.frames.is_multiple_of(CHECKED_EACH) {
                self.check(project).await;
            }
        }
        self.frames += 1;
        if self.breaks && self.frames % 10 == 9 {
            self.socket = Socket::connect(project).await;
            self.parts.clear();
            self.subscribe().await;
        }
    }

    fn take_parts(&mut self) {
        let mut has_come = false;
        for frame in self.parts.drain(..) {
            let id = frame["document"]["id"].as_str().expect("an id").to_owned();
            let known = match frame["type"].as_str() {
                Some("removed") => {
                    assert!(!has_come, "what goes is told first: {frame}");
                    self.documents.remove(&id)
                }
                _ => {
                    has_come = true;
                    self.documents.insert(id, frame["document"].clone())
                }
            };
            // Nothing is told twice, and nothing goes that has not come.
            assert_eq!(known.is_none(), frame["type"] == "added", "{frame}");
        }
    }

    /// What it holds at its position is what asking as of that gives.
    async fn check(&self, project: &Project) {
        if self.target["count"] == true {
            let (_, total) = self.asked(project, self.position.as_deref()).await;
            assert_eq!(self.count, Some(total), "{} at {:?}", self.target, self.position);
        } else if self.target["limit"].is_u64() {
            let (asked, _) = self.asked(project, self.position.as_deref()).await;
            assert_eq!(self.documents, asked, "{} at {:?}", self.target, self.position);
        }
    }

    /// Takes what comes until it holds what asking again gives; that.
    async fn settle(&mut self, project: &Project) -> usize {
        let (documents, total) = self.asked(project, None).await;
        let is_count = self.target["count"] == true;
        loop {
            let is_level = match is_count {
                true => self.count == Some(total),
                false => self.documents == documents && self.parts.is_empty(),
            };
            if is_level {
                return if is_count { total as usize } else { documents.len() };
            }
            let frame = self.socket.frame().await;
            self.take(project, frame).await;
        }
    }
}

/// Writes at random while all mirrors follow; then each must come to what asking again gives. How
/// many documents each holds of.
pub(super) async fn hold(project: &Project, mirrors: &mut [Mirror], writes: Writes) -> Vec<usize> {
    let (done, _) = tokio::sync::watch::channel(false);
    let following = mirrors.iter_mut().map(|mirror| {
        let mut done = done.subscribe();
        async move {
            while !*done.borrow() {
                let frame = tokio::select! {
                    frame = mirror.socket.frame() => frame,
                    _ = done.changed() => return,
                };
                mirror.take(project, frame).await;
            }
        }
    });
    let writing = async {
        write(project, writes).await;
        done.send_replace(true);
    };
    tokio::join!(writing, futures_util::future::join_all(following));
    let mut held = Vec::new();
    for mirror in mirrors {
        held.push(mirror.settle(project).await);
    }
    held
}

/// Creates, patches and deletes documents, a few of them at the same time: some at random, and some
/// in a row, so that whole ranges go.
async fn write(project: &Project, writes: Writes) {
    let mut random = fastrand::Rng::with_seed(writes.seed);
    let (mut left, mut row) = (writes.count, 0);
    while left > 0 {
        let together = random.usize(1..8).min(left);
        left -= together;
        let is_row = random.u8(0..3) == 0;
        let which = match is_row {
            true => (row..row + together).map(|number| number % writes.documents).collect(),
            false => random.choose_multiple(0..writes.documents, together),
        };
        row += if is_row { together } else { 0 };
        let written = which.into_iter().map(|number| {
            let id = format!("d{number:02}");
            let value = value(&mut random);
            let nested = self::value(&mut random);
            let kind = if is_row { 0 } else { random.u8(0..8) };
            async move {
                match kind {
                    0 | 1 => drop(project.delete("c", &id).send().await),
                    2 => drop(project.patch("c", &id, &json!({"x": value})).send().await),
                    3 => drop(project.write("c", &id, &json!({})).await),
                    4 => drop(project.write("c", &id, &json!({"x": value})).await),
                    _ => {
                        let data = json!({"x": value, "y": {"z": nested}});
                        project.write("c", &id, &data).await;
                    }
                }
            }
        });
        let written: Vec<_> = written.collect();
        futures_util::future::join_all(written).await;
    }
    // Something for everybody.
    for (id, data) in [
        ("d00", json!({"x": 1, "y": {"z": "b"}})),
        ("d01", json!({"x": -1, "y": {"z": "a"}})),
        ("d02", json!({"y": {"z": 0}})),
        ("d03", json!({"x": true})),
        ("last", json!({})),
    ] {
        project.write("c", id, &data).await;
    }
}

fn value(random: &mut fastrand::Rng) -> Value {
    match random.u8(0..5) {
        0 => Value::Null,
        1 => json!(random.bool()),
        2 => json!(["a", "b", "ab"][random.usize(0..3)]),
        _ => json!(random.i64(-2..3)),
    }
}
