//! Decides by whom a letter goes: the project's hook, its own mail server or SMS service, this
//! server's, or the inbox.

use std::sync::Arc;

use async_trait::async_trait;
use domain::sign_in::{Config, Hook, Sms};

use crate::queue::Deliver;
use crate::{Error, Inbox, Kind, Letter, Mailer, Outbound, hooks, mail, sms};

/// A letter and its way.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// What goes out.
    pub letter: Letter,
    /// By whom.
    pub route: Route,
}

/// By whom a letter goes.
#[derive(Debug, Clone)]
pub enum Route {
    /// A mail.
    Mail {
        /// The app's own server, if it sends mail.
        hook: Option<Hook>,
        /// Otherwise.
        mail: mail::Route,
    },
    /// An SMS.
    Sms {
        /// The app's own server, if it sends SMS.
        hook: Option<Hook>,
        /// Otherwise.
        sms: Option<Sms>,
    },
}

impl Route {
    /// The way that a project's configuration, its secrets opened, has for messages of this kind.
    pub fn of(config: &Config, kind: Kind) -> Self {
        if kind.is_sms() {
            Self::Sms { hook: config.hooks.send_sms.clone(), sms: config.sms.clone() }
        } else {
            let hook = config.hooks.send_mail.clone();
            Self::Mail { hook, mail: mail::Route::of(&config.mail) }
        }
    }
}

/// Brings letters on their way.
pub struct Courier {
    mailer: Mailer,
    sender: sms::Sender,
    hooks: hooks::Caller,
    inbox: Option<Arc<Inbox>>,
}

impl Courier {
    /// A courier that sends mail by `mailer`, calls by `outbound`, and keeps SMS that nobody sends
    /// in `inbox`.
    pub fn new(mailer: Mailer, outbound: Outbound, inbox: Option<Arc<Inbox>>) -> Self {
        let sender = sms::Sender::new(outbound.clone());
        Self { mailer, sender, hooks: hooks::Caller::new(outbound), inbox }
    }
}

#[async_trait]
impl Deliver for Courier {
    async fn deliver(&self, outgoing: &Outgoing) -> Result<(), Error> {
        let letter = &outgoing.letter;
        match &outgoing.route {
            Route::Mail { hook, mail } => {
                let is_sent = match hook {
                    Some(hook) => self.hooks.send_mail(hook, letter).await?,
                    None => false,
                };
                if is_sent { Ok(()) } else { self.mailer.send(letter, mail).await }
            }
            Route::Sms { hook, sms } => {
                let is_sent = match hook {
                    Some(hook) => self.hooks.send_sms(hook, letter).await?,
                    None => false,
                };
                match sms {
                    _ if is_sent => Ok(()),
                    Some(sms) => self.sender.send(letter, sms).await,
                    None => {
                        self.inbox.as_ref().ok_or(Error::Unset("SMS"))?.keep(letter);
                        Ok(())
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::sign_in::OnFailure;

    use super::*;
    use crate::fake::{Reply, Server, install_tls};
    use crate::letter::tests::letter;
    use crate::signing;

    #[tokio::test]
    async fn asks_the_hook_first_and_goes_on_only_if_it_may() {
        install_tls();
        let replies = [204, 500, 500, 403, 204].map(|status| Reply::json(status, ""));
        let server = Server::start(replies.into()).await;
        let inbox = Arc::new(Inbox::new());
        let mailer = Mailer::new(None, Some(Arc::clone(&inbox)), true).unwrap();
        let outbound = Outbound::new(true).unwrap();
        let courier = Courier::new(mailer, outbound, Some(Arc::clone(&inbox)));
        let mut hook = Hook {
            url: server.url("/"),
            secret: signing::new_secret().unwrap(),
            wait_ms_max: 1_000,
            on_failure: OnFailure::Refuse,
        };
        let mut config = Config::default();
        config.hooks.send_mail = Some(hook.clone());
        let letter = letter("p1", Kind::MagicLink, "ann@app.example");
        let outgoing = |config: &Config| Outgoing {
            letter: letter.clone(),
            route: Route::of(config, letter.kind),
        };
        let kept = || inbox.list(&letter.project, None).len();

        courier.deliver(&outgoing(&config)).await.unwrap();
        assert_eq!(kept(), 0);
        let found = courier.deliver(&outgoing(&config)).await;
        assert_eq!((found, kept()), (Err(Error::Later(500)), 0));
        hook.on_failure = OnFailure::Continue;
        config.hooks.send_mail = Some(hook.clone());
        courier.deliver(&outgoing(&config)).await.unwrap();
        assert_eq!(kept(), 1);
        courier.deliver(&outgoing(&config)).await.unwrap();
        assert_eq!(kept(), 2);

        config.hooks.send_sms = Some(hook);
        let sms = crate::letter::tests::letter("p1", Kind::PhoneCode, "+491701234567");
        let route = Route::of(&config, sms.kind);
        courier.deliver(&Outgoing { letter: sms.clone(), route }).await.unwrap();
        assert_eq!((kept(), server.requests().len()), (2, 5));
        let route = Route::of(&Config::default(), sms.kind);
        courier.deliver(&Outgoing { letter: sms, route }).await.unwrap();
        assert_eq!(kept(), 3);
    }
}
