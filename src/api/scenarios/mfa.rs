//! Second factors.

use auth::totp::{Secret, code_at};
use domain::Timestamp;
use serde_json::{Value, json};

use super::Rig;
use super::sign_in::PASSWORD;
use crate::people::now;

fn code(secret: &str, steps_on: i64) -> String {
    let at = Timestamp::from_micros(now().as_micros() + steps_on * 30_000_000);
    code_at(&Secret::parse(secret).unwrap(), at)
}

/// A user with a factor: its session of level 2, the factor's id and secret, and recovery codes.
async fn with_factor(rig: &Rig) -> (String, String, String, Vec<String>) {
    // Not at the end of a step: the test counts steps from the one that it began in.
    let into_step = now().as_micros().rem_euclid(30_000_000);
    if into_step > 24_000_000 {
        let left = u64::try_from(30_000_000 - into_step).unwrap();
        tokio::time::sleep(std::time::Duration::from_micros(left)).await;
    }
    let session = rig.sign_up("ann@app.example").await;
    let access = session["accessToken"].as_str().unwrap().to_owned();
    let made = rig.by(&access, "POST", "factors", json!({"name": "phone"})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert!(made["uri"].as_str().unwrap().starts_with("otpauth://totp/P:ann%40app.example?"));
    let path = format!("factors/{id}/confirm");
    // The step before now: codes of now are for the tests.
    let confirmed = rig.by(&access, "POST", &path, json!({"code": code(secret, -1)})).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text);
    let confirmed = confirmed.json();
    assert_eq!(confirmed["level"], "aal2");
    let codes = confirmed["recoveryCodes"].as_array().unwrap();
    let codes: Vec<String> = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    assert_eq!(codes.len(), 10);
    let access = confirmed["accessToken"].as_str().unwrap().to_owned();
    (access, id.to_owned(), secret.to_owned(), codes)
}

async fn sign_in(rig: &Rig) -> Value {
    let body = json!({"email": "ann@app.example", "password": PASSWORD});
    let session = rig.auth("sign-in", body).await;
    assert_eq!(session.status, 200, "{}", session.text);
    session.json()
}

#[actix_web::test]
async fn a_second_factor_lifts_a_session() {
    let rig = Rig::new().await;
    let (access, id, secret, _) = with_factor(&rig).await;
    let me = rig.by(&access, "GET", "me", Value::Null).await.json();
    assert_eq!(
        (&me["factors"][0]["confirmed"], &me["factors"][0]["id"]),
        (&json!(true), &json!(id))
    );
    assert!(!me.to_string().contains(&secret));
    let session = sign_in(&rig).await;
    assert_eq!((&session["level"], &session["nextLevel"]), (&json!("aal1"), &json!("aal2")));
    let low = session["accessToken"].as_str().unwrap();
    let raised = rig.by(low, "POST", "factors/verify", json!({"code": code(&secret, 0)})).await;
    assert_eq!((raised.status, &raised.json()["level"]), (200, &json!("aal2")), "{}", raised.text);
    assert!(raised.json()["recoveryCodes"].is_null());
    let refreshed = rig.auth("refresh", json!({"refreshToken": session["refreshToken"]})).await;
    assert_eq!(refreshed.json()["level"], "aal2");
}

#[actix_web::test]
async fn a_one_time_password_is_good_once() {
    let rig = Rig::new().await;
    let (access, id, secret, _) = with_factor(&rig).await;
    let low = sign_in(&rig).await["accessToken"].as_str().unwrap().to_owned();
    let show = |code: String| rig.by(&low, "POST", "factors/verify", json!({"code": code}));
    assert_eq!(show(code(&secret, -1)).await.status, 401, "it confirmed the factor");
    let now = code(&secret, 0);
    assert_eq!(show(now.clone()).await.status, 200);
    assert_eq!(show(now.clone()).await.status, 401);
    assert_eq!(show(code(&secret, 1)).await.status, 200);
    assert_eq!(show(now).await.status, 401, "a step before one that was used");
    let path = format!("factors/{id}/confirm");
    let again = rig.by(&access, "POST", &path, json!({"code": code(&secret, 1)})).await;
    assert_eq!((again.status, again.code().as_str()), (404, "factor-not-found"));
    for body in [json!({}), json!({"code": "1", "recoveryCode": "1"})] {
        assert_eq!(rig.by(&low, "POST", "factors/verify", body).await.status, 400);
    }
}

#[actix_web::test]
async fn one_password_shown_twice_at_once_is_good_once() {
    let rig = Rig::new().await;
    let (_, _, secret, _) = with_factor(&rig).await;
    let low = sign_in(&rig).await["accessToken"].as_str().unwrap().to_owned();
    let body = json!({"code": code(&secret, 0)});
    let tries = (0..4).map(|_| rig.by(&low, "POST", "factors/verify", body.clone()));
    let tried = futures_util::future::join_all(tries).await;
    let good = tried.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(good, 1, "{:?}", tried.iter().map(|reply| reply.status).collect::<Vec<_>>());
}

#[actix_web::test]
async fn guessing_takes_longer_and_longer() {
    let rig = Rig::new().await;
    let (_, _, secret, _) = with_factor(&rig).await;
    let low = sign_in(&rig).await["accessToken"].as_str().unwrap().to_owned();
    let wrong = if code(&secret, 0) == "000000" { "111111" } else { "000000" };
    for _ in 0..5 {
        let refused = rig.by(&low, "POST", "factors/verify", json!({"code": wrong})).await;
        assert_eq!((refused.status, refused.code().as_str()), (401, "invalid-credentials"));
    }
    let good = json!({"code": code(&secret, 0)});
    let refused = rig.by(&low, "POST", "factors/verify", good).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "too-many-requests"));
}

#[actix_web::test]
async fn recovery_codes_are_good_once_each() {
    let rig = Rig::new().await;
    let (access, id, secret, codes) = with_factor(&rig).await;
    let low = sign_in(&rig).await["accessToken"].as_str().unwrap().to_owned();
    let typed = codes[3].to_uppercase().replace('-', " ");
    let show = |code: &str| rig.by(&low, "POST", "factors/verify", json!({"recoveryCode": code}));
    let raised = show(&typed).await;
    assert_eq!((raised.status, &raised.json()["level"]), (200, &json!("aal2")), "{}", raised.text);
    assert_eq!(show(&codes[3]).await.status, 401);
    let second = sign_in(&rig).await["accessToken"].as_str().unwrap().to_owned();
    let refused = rig.by(&second, "POST", "recovery-codes", json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "second-factor-needed"));
    let body = json!({"code": code(&secret, 0)});
    let made = rig.by(&second, "POST", "recovery-codes", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(show(&codes[4]).await.status, 401);
    let new = made.json()["recoveryCodes"][0].as_str().unwrap().to_owned();
    assert_eq!(show(&new).await.status, 200);
    let path = format!("factors/{id}");
    assert_eq!(rig.by(&access, "DELETE", &path, Value::Null).await.status, 204);
    let new = made.json()["recoveryCodes"][1].as_str().unwrap().to_owned();
    assert_eq!(show(&new).await.status, 401, "they went with the last factor");
    assert_eq!(rig.by(&access, "POST", "recovery-codes", json!({})).await.status, 404);
}

#[actix_web::test]
async fn a_session_without_the_second_factor_changes_nothing_that_matters() {
    let rig = Rig::new().await;
    let (_, id, secret, _) = with_factor(&rig).await;
    let low = sign_in(&rig).await["accessToken"].as_str().unwrap().to_owned();
    for (method, path, body) in [
        ("POST", "factors".to_owned(), json!({})),
        ("DELETE", format!("factors/{id}"), Value::Null),
        ("POST", "email".to_owned(), json!({"email": "ann@new.example"})),
        (
            "POST",
            "password".to_owned(),
            json!({"currentPassword": PASSWORD, "password": "another good one"}),
        ),
    ] {
        let refused = rig.by(&low, method, &path, body).await;
        assert_eq!(refused.code(), "second-factor-needed", "{path}");
    }
    let code = json!({"code": code(&secret, 0)});
    assert_eq!(rig.by(&low, "POST", "reauthenticate", code).await.status, 204);
    let made = rig.by(&low, "POST", "factors", json!({})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    // Begun and never shown, it goes when another one is begun, or when it is taken away.
    let path = format!("factors/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(rig.by(&low, "DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(rig.by(&low, "DELETE", &path, Value::Null).await.code(), "factor-not-found");
}
