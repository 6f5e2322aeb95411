//! Tries, limits, and the end.

use std::time::Instant;

use super::*;
use crate::letter::tests::letter;
use crate::{Kind, Route, mail};

/// Answers by the name in the address: `gone` never, `later` after two tries, `stuck` not at all.
#[derive(Default)]
struct Fake {
    tries: Mutex<HashMap<String, usize>>,
    at_once: Mutex<(usize, usize)>,
}

#[async_trait]
impl Deliver for Fake {
    async fn deliver(&self, outgoing: &Outgoing) -> Result<(), Error> {
        let tries = {
            let mut tries = self.tries.lock();
            let tries = tries.entry(outgoing.letter.id.clone()).or_default();
            *tries += 1;
            *tries
        };
        {
            let mut at_once = self.at_once.lock();
            at_once.0 += 1;
            at_once.1 = at_once.1.max(at_once.0);
        }
        let name = outgoing.letter.to.split('@').next().unwrap();
        let result = match name {
            "gone" => Err(Error::Refused(550)),
            "later" if tries <= 2 => Err(Error::Later(451)),
            "never" => Err(Error::TimedOut),
            "stuck" => {
                sleep(Duration::from_secs(60)).await;
                Ok(())
            }
            _ => {
                sleep(Duration::from_millis(5)).await;
                Ok(())
            }
        };
        self.at_once.lock().0 -= 1;
        result
    }
}

fn outgoing(project: &str, name: &str) -> Outgoing {
    let letter = letter(project, Kind::MagicLink, &format!("{name}@app.example"));
    Outgoing { letter, route: Route::Mail { hook: None, mail: mail::Route::default() } }
}

fn queue() -> (Arc<Fake>, Queue) {
    let fake = Arc::new(Fake::default());
    let pauses = [1, 2, 4].map(Duration::from_millis);
    (Arc::clone(&fake), Queue::with_pauses(fake, pauses))
}

fn counts(queue: &Queue) -> [u64; 4] {
    let Counts { sent, failed, retried, dropped } = queue.counts();
    [sent, failed, retried, dropped].map(|counter| counter.load(Ordering::Relaxed))
}

async fn idle(queue: &Queue) {
    let began = Instant::now();
    while queue.waiting() > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "still waiting");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn tries_again_only_what_may_pass() {
    let (fake, queue) = queue();
    for (name, tries, wanted) in [
        ("ann", 1, [1, 0, 0, 0]),
        ("gone", 1, [1, 1, 0, 0]),
        ("later", 3, [2, 1, 2, 0]),
        ("never", 4, [2, 2, 5, 0]),
    ] {
        let one = outgoing("p1", name);
        let id = one.letter.id.clone();
        queue.push(one).unwrap();
        idle(&queue).await;
        assert_eq!(fake.tries.lock()[&id], tries, "{name}");
        assert_eq!(counts(&queue), wanted, "{name}");
    }
    assert!(queue.inner.lanes.lock().is_empty());
}

#[test]
fn waits_longer_each_time() {
    assert_eq!(PAUSES.map(|pause| pause.as_secs()), [1, 5, 25]);
}

#[tokio::test]
async fn one_project_holds_up_no_other() {
    let (fake, queue) = queue();
    for _ in 0..OF_PROJECT_MAX {
        queue.push(outgoing("slow", "stuck")).unwrap();
    }
    assert_eq!(queue.push(outgoing("slow", "stuck")), Err(Error::Busy));
    queue.push(outgoing("quick", "ann")).unwrap();
    let began = Instant::now();
    while counts(&queue)[0] == 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "held up");
        sleep(Duration::from_millis(2)).await;
    }
    assert!(fake.at_once.lock().1 <= SENDING_OF_PROJECT_MAX + 1);
    assert_eq!(counts(&queue), [1, 0, 0, 1]);
    queue.close(Duration::from_millis(10)).await;
    assert_eq!(counts(&queue), [1, 0, 0, 1 + OF_PROJECT_MAX as u64]);
    assert_eq!(queue.waiting(), 0);
}

#[tokio::test]
async fn takes_no_more_than_it_may() {
    let (fake, queue) = queue();
    for project in ["p1", "p2", "p3", "p4"] {
        for _ in 0..OF_PROJECT_MAX {
            queue.push(outgoing(project, "ann")).unwrap();
        }
    }
    assert_eq!(queue.waiting(), ALL_MAX);
    assert_eq!(queue.push(outgoing("p5", "ann")), Err(Error::Busy));
    idle(&queue).await;
    assert_eq!(counts(&queue), [1000, 0, 0, 1]);
    let most = fake.at_once.lock().1;
    assert!(most <= SENDING_MAX, "{most}");
    queue.push(outgoing("p5", "ann")).unwrap();
    idle(&queue).await;
}

#[tokio::test]
async fn takes_no_more_text_than_it_may() {
    let (_, queue) = queue();
    let mut large = outgoing("p1", "stuck");
    large.letter.message.text = "x".repeat(32 * 1024 * 1024);
    queue.push(large.clone()).unwrap();
    assert_eq!(queue.push(large), Err(Error::Busy));
    queue.push(outgoing("p1", "ann")).unwrap();
    queue.close(Duration::from_millis(10)).await;
    assert_eq!(queue.inner.room.available_permits(), KIB_MAX);
}

#[tokio::test]
async fn sends_what_waits_before_it_ends() {
    let (_, queue) = queue();
    for _ in 0..20 {
        queue.push(outgoing("p1", "later")).unwrap();
    }
    queue.close(Duration::from_secs(10)).await;
    assert_eq!(counts(&queue), [20, 0, 40, 0]);
    assert_eq!(queue.push(outgoing("p1", "ann")), Err(Error::Closed));
}
