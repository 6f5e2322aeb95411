//! A user of a project, as its app sees it.

use serde_json::{Value, json};

use super::{Client, Project};

/// The password of everybody.
const PASSWORD: &str = "correct horse battery staple";

/// A user and its session.
#[derive(Clone)]
pub struct Person {
    /// Its id.
    pub id: String,
    /// The project, called with the user's access token.
    pub project: Project,
    /// The newest refresh token.
    pub refresh_token: String,
    /// Its session's id.
    pub session: String,
}

impl Person {
    /// Signs up.
    pub async fn sign_up(project: &Project, email: &str) -> Self {
        Self::by(project, "/auth/sign-up", email, 201).await
    }

    /// Signs in.
    pub async fn sign_in(project: &Project, email: &str) -> Self {
        Self::by(project, "/auth/sign-in", email, 200).await
    }

    async fn by(project: &Project, path: &str, email: &str, status: u16) -> Self {
        let body = json!({"email": email, "password": PASSWORD});
        let session = nobody(project).post(&project.path(path), &body).expect(status).await;
        Self::of(project, &session)
    }

    /// From a session as it was answered.
    pub fn of(project: &Project, session: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let client = project.client.with_token(&text(&session["accessToken"]));
        Self {
            id: text(&session["user"]["id"]),
            project: Project { id: project.id.clone(), client },
            refresh_token: text(&session["refreshToken"]),
            session: text(&session["sessionId"]),
        }
    }

    /// Asks for the next tokens, by a refresh token.
    pub async fn refresh(&self, token: &str) -> super::Answer {
        let body = json!({"refreshToken": token});
        nobody(&self.project).post(&self.project.path("/auth/refresh"), &body).send().await
    }
}

/// A caller without a token.
pub fn nobody(project: &Project) -> Client {
    project.client.with_token("")
}
