//! The memory store against the suite.

use super::Store;
use crate::conformance;

#[tokio::test]
async fn conforms() {
    conformance::every_store(|| async { Store::default() }).await;
}

#[test]
fn agrees_with_the_model() {
    conformance::random_batches(200, || async { Store::default() });
}

#[tokio::test]
async fn a_clone_is_the_same_store() {
    let (store, again) = (Store::default(), Store::default());
    let id = conformance::space_id(1);
    crate::Store::activate(&store.clone(), &id).await.unwrap();
    let active =
        |store: Store| async move { crate::Store::active(&store, "things", id.partition).await };
    assert_eq!(active(store).await.unwrap(), Some(1));
    assert_eq!(active(again).await.unwrap(), None);
}
