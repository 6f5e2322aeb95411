//! One project and its documents, as a caller with a secret key sees them.

use serde_json::{Value, json};

use super::client::Request;
use super::{Answer, Client};

/// Events asked for at once.
const EVENTS_PAGE: usize = 1000;

/// A project and its secret key.
#[derive(Clone)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// Calls with the secret key.
    pub client: Client,
}

impl Project {
    /// Makes a project with a secret key.
    pub async fn create(admin: &Client, id: &str) -> Self {
        admin.post("/v1/projects", &json!({"id": id, "name": id})).expect(201).await;
        let key = Self::key_of(admin, id, "secret").await;
        Self { id: id.to_owned(), client: admin.with_token(&key) }
    }

    /// Makes a key of a project.
    pub async fn key_of(admin: &Client, id: &str, kind: &str) -> String {
        let path = format!("/v1/projects/{id}/keys");
        let made = admin.post(&path, &json!({"kind": kind, "name": "tests"})).expect(201).await;
        made["key"].as_str().expect("a new key is shown once").to_owned()
    }

    /// The same project at a server that was started again.
    pub fn at(&self, base: &str) -> Self {
        Self { id: self.id.clone(), client: self.client.at(base) }
    }

    /// A path below the project.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/projects/{}{rest}", self.id)
    }

    /// The path of a collection's documents.
    pub fn documents(&self, collection: &str) -> String {
        self.path(&format!("/collections/{collection}/documents"))
    }

    /// The path of a document.
    pub fn document(&self, collection: &str, id: &str) -> String {
        format!("{}/{id}", self.documents(collection))
    }

    /// Makes or replaces a document.
    pub fn put(&self, collection: &str, id: &str, data: &Value) -> Request {
        self.client.put(&self.document(collection, id), data)
    }

    /// Merges into a document.
    pub fn patch(&self, collection: &str, id: &str, data: &Value) -> Request {
        self.client.patch(&self.document(collection, id), data)
    }

    /// Deletes a document.
    pub fn delete(&self, collection: &str, id: &str) -> Request {
        self.client.delete(&self.document(collection, id))
    }

    /// Reads a document.
    pub fn get(&self, collection: &str, id: &str) -> Request {
        self.client.get(&self.document(collection, id))
    }

    /// Makes or replaces a document, which must succeed; returns the answer.
    pub async fn write(&self, collection: &str, id: &str, data: &Value) -> Answer {
        let answer = self.put(collection, id, data).send().await;
        assert!(answer.is_ok(), "{}: {}", answer.status, answer.text());
        answer
    }

    /// A transaction.
    pub fn commit(&self, writes: &Value, reads: &Value) -> Request {
        self.client.post(&self.path("/commit"), &json!({"writes": writes, "reads": reads}))
    }

    /// All documents of a collection, page by page; `query` goes with each request.
    pub async fn list(&self, collection: &str, query: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("{}?{query}{cursor}", self.documents(collection));
            let mut page = self.client.get(&path).expect(200).await;
            all.append(page["documents"].as_array_mut().expect("a page has documents"));
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// All versions of a document, newest first, page by page.
    pub async fn history(&self, collection: &str, id: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut before = String::new();
        loop {
            let path = format!("{}/history?limit=90{before}", self.document(collection, id));
            let mut page = self.client.get(&path).expect(200).await;
            all.append(page["versions"].as_array_mut().expect("a history has versions"));
            match page["next"].as_u64() {
                Some(next) => before = format!("&before={next}"),
                None => return all,
            }
        }
    }

    /// The project's events from a position on (from the oldest for an empty one), and the
    /// position to go on from.
    pub async fn events(&self, from: &str) -> (Vec<Value>, String) {
        let mut all = Vec::new();
        let mut from = from.to_owned();
        loop {
            let from_query = if from.is_empty() { String::new() } else { format!("&from={from}") };
            let path = self.path(&format!("/events?limit={EVENTS_PAGE}{from_query}"));
            let mut page = self.client.get(&path).expect(200).await;
            all.append(page["events"].as_array_mut().expect("a page has events"));
            let text = |field: &str| page[field].as_str().map(str::to_owned);
            let (next, end) = (text("next"), text("end"));
            let next = next.expect("a page of events tells where to go on");
            if end.is_none_or(|end| end == next) {
                return (all, next);
            }
            from = next;
        }
    }
}

/// Those events that are about documents of a collection.
pub fn events_of<'a>(events: &'a [Value], collection: &str) -> Vec<&'a Value> {
    let prefix = format!("document/{collection}/");
    let is_of = |event: &&Value| event["subject"].as_str().is_some_and(|s| s.starts_with(&prefix));
    events.iter().filter(is_of).collect()
}
