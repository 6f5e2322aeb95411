//! The pages behind the links in mail, for those who come by a browser: a button, for programs that
//! look at mail open links, too, and must not use them up. No script, nothing from elsewhere.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use super::challenges::purpose;
use crate::answer;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:15vh auto;\
    padding:0 1rem;color:#1a1a1a;background:#fff}h1{font-size:1.4rem}button,input{font:inherit;\
    padding:.6rem 1rem;border-radius:.4rem;border:1px solid #888;width:100%;box-sizing:border-box;\
    margin:.4rem 0}button{background:#1a56db;border-color:#1a56db;color:#fff;cursor:pointer}\
    .wrong{color:#b00020}@media(prefers-color-scheme:dark){body{color:#eee;background:#111}\
    .wrong{color:#ff8a80}}";
/// The most languages that a browser's wishes are read for.
const WISHES_MAX: usize = 16;

/// A language that there are pages in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    German,
    French,
    Spanish,
}

/// What a page says of each purpose: a heading, and what its button does.
struct Words {
    lang: &'static str,
    verify: [&'static str; 2],
    sign_in: [&'static str; 2],
    reset: [&'static str; 2],
    password: &'static str,
    done: [&'static str; 2],
    failed: [&'static str; 2],
    for_project: &'static str,
}

const ENGLISH: Words = Words {
    lang: "en",
    verify: ["Confirm your address", "Confirm"],
    sign_in: ["Sign in", "Sign in"],
    reset: ["Set a new password", "Set password"],
    password: "New password",
    done: ["Done", "You can close this page and go back to the app."],
    failed: ["This did not work", "The link was used already, or is too old. Ask for a new one."],
    for_project: "for",
};
const GERMAN: Words = Words {
    lang: "de",
    verify: ["Adresse bestätigen", "Bestätigen"],
    sign_in: ["Anmelden", "Anmelden"],
    reset: ["Neues Passwort setzen", "Passwort setzen"],
    password: "Neues Passwort",
    done: ["Fertig", "Sie können diese Seite schließen und zur App zurückkehren."],
    failed: [
        "Das hat nicht geklappt",
        "Der Link wurde schon benutzt oder ist zu alt. Fordern Sie einen neuen an.",
    ],
    for_project: "für",
};
const FRENCH: Words = Words {
    lang: "fr",
    verify: ["Confirmer votre adresse", "Confirmer"],
    sign_in: ["Se connecter", "Se connecter"],
    reset: ["Choisir un nouveau mot de passe", "Enregistrer"],
    password: "Nouveau mot de passe",
    done: ["C’est fait", "Vous pouvez fermer cette page et retourner dans l’application."],
    failed: [
        "Cela n’a pas fonctionné",
        "Le lien a déjà servi ou il est trop ancien. Demandez-en un nouveau.",
    ],
    for_project: "pour",
};
const SPANISH: Words = Words {
    lang: "es",
    verify: ["Confirmar su dirección", "Confirmar"],
    sign_in: ["Entrar", "Entrar"],
    reset: ["Elegir una contraseña nueva", "Guardar"],
    password: "Contraseña nueva",
    done: ["Listo", "Puede cerrar esta página y volver a la aplicación."],
    failed: [
        "No ha funcionado",
        "El enlace ya se ha usado o es demasiado antiguo. Pida uno nuevo.",
    ],
    for_project: "para",
};

impl Language {
    /// The best of a browser's wishes (RFC 9110, section 12.5.4); English for none.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let mut best = (0.0, Self::English);
        for wish in text.unwrap_or_default().split(',').take(WISHES_MAX) {
            let (tag, weight) = wish.split_once(';').unwrap_or((wish, ""));
            let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse().ok());
            let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
            let known = match primary.as_str() {
                "en" => Self::English,
                "de" => Self::German,
                "fr" => Self::French,
                "es" => Self::Spanish,
                _ => continue,
            };
            let weight: f32 = weight.unwrap_or(0.0);
            if weight > best.0 {
                best = (weight, known);
            }
        }
        best.1
    }

    fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::German => &GERMAN,
            Self::French => &FRENCH,
            Self::Spanish => &SPANISH,
        }
    }
}

/// What the form holds.
pub(crate) struct Form<'a> {
    /// What the link is for.
    pub(crate) purpose: &'a str,
    /// The project's name, for people.
    pub(crate) project: &'a str,
    /// The link's token.
    pub(crate) token: &'a str,
    /// Where to go on, as it was asked for.
    pub(crate) redirect_to: Option<&'a str>,
    /// What is wrong with the password that was typed in.
    pub(crate) wrong: Option<&'a str>,
    /// Where the browser may be sent in the end, as a source of a content security policy.
    pub(crate) target: Option<&'a str>,
}

/// The page with the button.
pub(crate) fn ask(language: Language, status: StatusCode, form: &Form<'_>) -> HttpResponse {
    let words = language.words();
    let [heading, button] = match form.purpose {
        purpose::MAGIC_LINK | purpose::INVITE => words.sign_in,
        purpose::RESET_PASSWORD => words.reset,
        _ => words.verify,
    };
    let hidden = |name: &str, value: &str| {
        format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escaped(value))
    };
    let mut fields = hidden("token", form.token);
    if let Some(redirect_to) = form.redirect_to {
        fields.push_str(&hidden("redirectTo", redirect_to));
    }
    if form.purpose == purpose::RESET_PASSWORD {
        let label = words.password;
        let wrong = form.wrong.map(|wrong| format!("<p class=\"wrong\">{}</p>", escaped(wrong)));
        fields.push_str(&format!(
            "<label>{label}<input type=\"password\" name=\"password\" maxlength=\"1024\" required \
             autocomplete=\"new-password\"></label>{}",
            wrong.unwrap_or_default()
        ));
    }
    let project = escaped(form.project);
    // Without an address the form goes to the page's own path; what stands in the query there is
    // not used again.
    let body = format!(
        "<h1>{heading}</h1><p>{} {project}</p>\
         <form method=\"post\" action=\"confirm\">{fields}<button>{button}</button></form>",
        words.for_project
    );
    page(language, status, heading, &body, form.target)
}

/// The page that says that it is done.
pub(crate) fn done(language: Language) -> HttpResponse {
    let [heading, text] = language.words().done;
    page(language, StatusCode::OK, heading, &format!("<h1>{heading}</h1><p>{text}</p>"), None)
}

/// The page that says that it did not work.
pub(crate) fn failed(language: Language, status: StatusCode) -> HttpResponse {
    let [heading, text] = language.words().failed;
    page(language, status, heading, &format!("<h1>{heading}</h1><p>{text}</p>"), None)
}

fn page(
    language: Language,
    status: StatusCode,
    title: &str,
    body: &str,
    target: Option<&str>,
) -> HttpResponse {
    let lang = language.words().lang;
    let html = format!(
        "<!doctype html>\n<html lang=\"{lang}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>{body}</body></html>\n"
    );
    // Browsers hold to `form-action` where the answer to the form sends them, too.
    let target = target.map(|target| format!(" {target}")).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'{target}; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    let mut response = answer::bytes(status, html, "text/html; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, answer::text(&policy));
    for (name, value) in &FIXED {
        headers.insert(name.clone(), HeaderValue::from_static(value));
    }
    response
}

/// What every answer to a browser says, so that the link's token goes nowhere.
pub(crate) static FIXED: [(HeaderName, &str); 4] = [
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CACHE_CONTROL, "no-store"),
];

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_the_language_it_wants_most() {
        for (wishes, language) in [
            ("", Language::English),
            ("pl", Language::English),
            ("de-CH", Language::German),
            ("pl,fr;q=0.4, es;q=0.8", Language::Spanish),
            ("de;q=0,fr;q=0.1", Language::French),
            ("de;q=x", Language::English),
            ("EN-us,de", Language::English),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_str(wishes).unwrap());
            assert_eq!(Language::of(&headers), language, "{wishes}");
        }
    }

    #[test]
    fn nothing_that_came_in_becomes_markup() {
        let evil = "\"><script>alert('x')</script>&";
        let form = Form {
            purpose: purpose::RESET_PASSWORD,
            project: evil,
            token: evil,
            redirect_to: Some(evil),
            wrong: Some(evil),
            target: None,
        };
        let response = ask(Language::English, StatusCode::OK, &form);
        let body = actix_web::body::MessageBody::try_into_bytes(response.into_body());
        let text = String::from_utf8(body.unwrap_or_default().to_vec()).unwrap();
        assert!(!text.contains("<script") && !text.contains("\"\">"), "{text}");
        assert_eq!(text.matches("&lt;script&gt;").count(), 4);
    }
}
