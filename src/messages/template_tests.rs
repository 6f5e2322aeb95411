//! Languages, limits, and that values stay data.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::texts::LANGUAGES;

fn template(subject: &str, text: &str, html: Option<&str>) -> Template {
    Template { subject: subject.into(), text: text.into(), html: html.map(Into::into) }
}

fn values() -> Values<'static> {
    Values {
        link: Some("https://app.example/verify?a=1&b=2"),
        code: Some("042193"),
        email: "ann@app.example",
        project: "Tide & Co",
        minutes: 15,
    }
}

fn own(kind: Kind, language: &str, template: Template) -> Mail {
    let by_language = BTreeMap::from([(language.to_owned(), template)]);
    let templates = BTreeMap::from([(kind.as_str().to_owned(), by_language)]);
    Mail { templates, ..Mail::default() }
}

#[test]
fn every_built_in_text_passes_its_own_check_and_is_told_apart() {
    let mut subjects = std::collections::BTreeSet::new();
    for kind in Kind::ALL {
        assert_eq!(kind.as_str().parse::<Kind>().unwrap(), kind);
        for language in LANGUAGES {
            let built_in = texts::built_in(kind, language).unwrap();
            check(kind, built_in).unwrap();
            let message = render(kind, &Mail::default(), Some(language), &values()).unwrap();
            assert!(!message.text.contains("{{"), "{}", message.text);
            assert!(message.text.contains("Tide & Co"), "{kind} {language}");
            assert!(kind.is_sms() || subjects.insert(message.subject.clone()));
            assert_eq!(message.html.is_none(), kind.is_sms());
            if let Some(html) = &message.html {
                assert!(html.contains("Tide &amp; Co") && !html.contains("{{"));
                assert!(html.contains(&format!("<html lang=\"{language}\">")));
            }
            let holds = |text: &str| message.text.contains(text);
            let needs = kind.needs().first();
            assert_eq!(holds("https://app.example"), needs == Some(&Hole::Link), "{kind}");
            assert_eq!(holds("042193"), needs == Some(&Hole::Code), "{kind}");
        }
    }
    assert_eq!("new-sign-in".parse::<Kind>(), Err(Fault::Kind));
}

#[test]
fn takes_the_best_language() {
    let text = |settings: &Mail, wanted| {
        render(Kind::EmailCode, settings, wanted, &values()).unwrap().text
    };
    let mut settings = own(Kind::EmailCode, "de-ch", template("s", "Grüezi {{ code }}", None));
    assert_eq!(text(&settings, Some("de-CH")), "Grüezi 042193");
    assert!(text(&settings, Some("de-AT")).contains("Ihr Code"));
    assert!(text(&settings, Some("ja-JP")).contains("Your code"));
    assert!(text(&settings, Some("\r\n")).contains("Your code"));
    settings.language = Some("fr".into());
    assert!(text(&settings, Some("ja-JP")).contains("Votre code"));
    assert!(text(&settings, None).contains("Votre code"));
    assert!(text(&settings, Some("es-419")).contains("Su código"));
}

#[test]
fn passes_over_a_template_that_is_broken() {
    let settings = own(Kind::MagicLink, "en", template("s", "{{ lnk }}", None));
    let message = render(Kind::MagicLink, &settings, None, &values()).unwrap();
    assert!(message.text.contains("https://app.example"));
}

#[test]
fn says_what_is_wrong_with_a_template() {
    let fault = |kind, subject: &str, text: &str, html: Option<&str>| {
        check(kind, &template(subject, text, html)).unwrap_err()
    };
    let code = Kind::EmailCode;
    check(code, &template("{{project}}", "{{code}} {a}} {{ minutes }}", None)).unwrap();
    check(Kind::VerifyEmail, &template("s", "{{ code }}", Some("{{ link }}"))).unwrap();
    assert_eq!(fault(code, "s", "{{ nam }}", None), Fault::Unknown("nam".into()));
    assert_eq!(fault(code, "s", "{{ code", None), Fault::Unclosed);
    assert_eq!(fault(code, "s", "{{ link }}", None), Fault::Missing("the text", "code"));
    assert_eq!(fault(code, "s", "{{code}}", Some("x")), Fault::Missing("the HTML", "code"));
    assert_eq!(fault(code, "a\r\nBcc: b@c.example", "{{code}}", None), Fault::Control);
    assert_eq!(fault(code, " ", "{{code}}", None), Fault::Empty("the subject"));
    assert_eq!(fault(code, "s", "{{code}}", Some("{{ x")), Fault::Unclosed);
    let long = "x".repeat(201);
    assert_eq!(fault(code, &long, "{{code}}", None), Fault::TooLong("the subject", 200));
    let many = "{{code}}".repeat(17);
    assert_eq!(fault(code, "s", &many, None), Fault::TooMany("the text"));
    let long = "x".repeat(20 * 1024 + 1);
    assert_eq!(fault(code, "s", &long, None), Fault::TooLong("the text", 20 * 1024));
    let long = "x".repeat(100 * 1024 + 1);
    assert_eq!(fault(code, "s", "{{code}}", Some(&long)), Fault::TooLong("the HTML", 100 * 1024));
}

#[test]
fn refuses_values_that_are_absent_or_too_long() {
    let settings = Mail::default();
    let without = Values { link: None, ..values() };
    let made = render(Kind::MagicLink, &settings, None, &without);
    assert_eq!(made, Err(Fault::Value("link")));
    render(Kind::EmailCode, &settings, None, &without).unwrap();
    let long = "x".repeat(2049);
    let long = Values { project: &long, ..values() };
    assert_eq!(render(Kind::EmailCode, &settings, None, &long), Err(Fault::Value("project")));
}

#[test]
fn debug_tells_nothing() {
    let message = render(Kind::EmailCode, &Mail::default(), None, &values()).unwrap();
    let shown = format!("{message:?} {:?}", values());
    assert!(!shown.contains("042193") && !shown.contains("app.example"), "{shown}");
}

/// Text full of what means something to HTML, to headers or to templates.
fn hostile() -> impl Strategy<Value = String> {
    let nasty = "[<>&\"'`=/ {}\r\n\t\0\u{85}\u{2028}a-z]{0,40}";
    prop_oneof![nasty, any::<String>(), Just("{{ code }}".to_owned())]
}

/// Undoes the escaping, and nothing else.
fn unescaped(html: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#96;", "`")];
    let text = entities.iter().fold(html.to_owned(), |text, (from, to)| text.replace(from, to));
    text.replace("&amp;", "&")
}

proptest! {
    #[test]
    fn values_stay_data(
        link in hostile(), code in hostile(), email in hostile(), project in hostile(),
        kind in proptest::sample::select(&Kind::ALL[..]),
        language in proptest::sample::select(&LANGUAGES[..]),
    ) {
        let values = Values {
            link: Some(&link), code: Some(&code), email: &email, project: &project, minutes: 5,
        };
        let plain =
            Values { link: Some("x"), code: Some("x"), email: "x", project: "x", minutes: 5 };
        let settings = Mail::default();
        let made = render(kind, &settings, Some(language), &values).unwrap();
        let calm = render(kind, &settings, Some(language), &plain).unwrap();
        prop_assert!(!made.subject.contains(breaks_line));
        prop_assert_eq!(made.text.lines().count(), calm.text.lines().count());
        if let (Some(made), Some(calm)) = (&made.html, &calm.html) {
            for special in ['<', '>', '"', '\'', '`', '\n'] {
                let count = |html: &str| html.matches(special).count();
                prop_assert_eq!(count(made), count(calm), "{:?} in {}", special, made);
            }
        }
    }

    #[test]
    fn html_holds_the_value_and_nothing_but_the_value(email in hostile()) {
        let settings = own(
            Kind::PasswordChanged, "en", template("{{email}}", "-", Some("<b x='{{email}}'>")),
        );
        let values = Values { email: &email, ..values() };
        let made = render(Kind::PasswordChanged, &settings, None, &values).unwrap();
        prop_assert!(!made.subject.contains(breaks_line));
        let html = made.html.unwrap();
        let inner = html.strip_prefix("<b x='").and_then(|rest| rest.strip_suffix("'>")).unwrap();
        prop_assert!(!inner.contains(['<', '>', '\'', '"', '`']));
        let wanted: String = email.chars().map(|c| if breaks_line(c) { ' ' } else { c }).collect();
        prop_assert_eq!(unescaped(inner), wanted);
    }

    #[test]
    fn no_template_makes_it_panic(
        subject in hostile(), text in any::<String>(), html in hostile(),
    ) {
        let own_one = template(&subject, &text, Some(&html));
        let settings = own(Kind::EmailChanged, "en", own_one.clone());
        let made = render(Kind::EmailChanged, &settings, None, &values()).unwrap();
        prop_assert!(!made.subject.contains(breaks_line));
        let is_own = check(Kind::EmailChanged, &own_one).is_ok();
        prop_assert!(is_own || made.text.contains("Tide & Co"));
    }
}
